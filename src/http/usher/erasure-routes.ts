import { z } from 'zod';
import type { Erasure, ErasureStore } from '../../store/erasure.ts';
import { type Route, route } from '../endpoint.ts';
import { DATE, ID, ID_PATH } from '../schema/common.ts';

export interface ErasureRoutesDeps {
  erasures: Pick<ErasureStore, 'begin' | 'find'>;
  /** Called when there is work for the upkeep. */
  wakeUpkeep(): void;
}

const COUNT = z.int().min(0);

const ERASURE = z
  .strictObject({
    id: ID,
    status: z.enum(['running', 'done']).describe('`done`: nothing is left in the store, nor in Temporal.'),
    removed: z.strictObject({ registrations: COUNT, logs: COUNT, executions: COUNT.describe('Of denied sign-ups.'), messages: COUNT }),
    histories_left: COUNT.describe('Registrations whose histories Temporal has not deleted yet.'),
    created_at: DATE,
    ended_at: DATE.nullable(),
  })
  .meta({ id: 'Erasure' });

const COMMON = { tag: 'users', scopes: ['delete:users'], returns: ERASURE, errors: [404], ours: true } as const;

/** Erases people; docs/data-protection.md. */
export function erasureRoutes({ erasures, wakeUpkeep }: ErasureRoutesDeps): Route[] {
  return [
    route(
      {
        ...COMMON,
        operationId: 'post_user_erase',
        method: 'post',
        path: '/usher/users/{id}/erase',
        summary: 'Erase a user',
        description: 'Deletes the user at once, and in the background everything else that is kept of him or her: registrations with what their Actions did, log entries, messages, and the histories in Temporal. Open Actions get no further attempt. For users who live elsewhere too.',
        params: z.strictObject({ id: z.string().min(1).max(1024).describe('With the provider: `auth0|…`.') }),
        status: 202,
      },
      async ({ params, token }) => {
        const erasure = await erasures.begin({ userId: params.id, clientId: token.clientId });
        wakeUpkeep();
        return erasureBody(erasure);
      },
    ),
    route(
      { ...COMMON, operationId: 'get_erasure', method: 'get', path: '/usher/erasures/{id}', summary: 'Get how far an erasure is', params: ID_PATH },
      async ({ params }) => erasureBody(await erasures.find(params.id)),
    ),
  ];
}

function erasureBody({ id, status, removed, historiesLeft, createdAt, endedAt }: Erasure): z.input<typeof ERASURE> {
  return {
    id,
    status,
    removed,
    histories_left: historiesLeft,
    created_at: new Date(createdAt).toISOString(),
    ended_at: endedAt === null ? null : new Date(endedAt).toISOString(),
  };
}
