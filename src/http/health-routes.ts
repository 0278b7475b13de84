import { z } from 'zod';
import { type Route, route } from './endpoint.ts';

/** How far the installation can do its work. */
export interface Readiness {
  /** Sign-ups are served durably. */
  ready: boolean;
  /** What does not work fully, by name, and how: `{temporal: 'starting'}`. */
  degraded: Record<string, string>;
}

const READINESS = z.strictObject({ status: z.enum(['ready', 'degraded', 'not ready']), degraded: z.record(z.string(), z.string()) });

/** What `/readyz` answers. */
export function readinessAnswer({ ready, degraded }: Readiness): { status: 200 | 503; body: z.infer<typeof READINESS> } {
  if (!ready) return { status: 503, body: { status: 'not ready', degraded } };
  return { status: 200, body: { status: Object.keys(degraded).length === 0 ? 'ready' : 'degraded', degraded } };
}

/** Whether the process lives, and whether sign-ups are served durably. */
export function healthRoutes({ readiness }: { readiness: () => Promise<Readiness> }): Route[] {
  return [
    route(
      {
        operationId: 'get_healthz',
        method: 'get',
        path: '/healthz',
        summary: 'The process lives',
        tag: 'health',
        scopes: null,
        returns: z.strictObject({ status: z.literal('ok') }),
        ours: true,
      },
      () => Promise.resolve({ status: 'ok' as const }),
    ),
    route(
      {
        operationId: 'get_readyz',
        method: 'get',
        path: '/readyz',
        summary: 'Sign-ups are served durably; 503 when not',
        tag: 'health',
        scopes: null,
        returns: READINESS,
        unavailable: READINESS,
        ours: true,
      },
      async ({ res }) => {
        const { status, body } = readinessAnswer(await readiness());
        res.status(status);
        return body;
      },
    ),
  ];
}
