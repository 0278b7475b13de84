import { Router } from 'express';

/** How far the installation can do its work. */
export interface Readiness {
  /** Sign-ups are served durably. */
  ready: boolean;
  /** What does not work fully, by name, and how: `{temporal: 'starting'}`. */
  degraded: Record<string, string>;
}

/** `GET /healthz` (the process lives) and `GET /readyz` (200 as soon as sign-ups are served durably, else 503). */
export function healthRoutes({ readiness }: { readiness: () => Promise<Readiness> }): Router {
  const router = Router();

  router.get('/healthz', (_req, res) => {
    res.json({ status: 'ok' });
  });

  router.get('/readyz', async (_req, res) => {
    const { ready, degraded } = await readiness();
    const status = ready ? (Object.keys(degraded).length === 0 ? 'ready' : 'degraded') : 'not ready';
    res.status(ready ? 200 : 503).json({ status, degraded });
  });

  return router;
}
