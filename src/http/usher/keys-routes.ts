import { z } from 'zod';
import type { CodecKeys } from '../../store/codec-keys.ts';
import type { Rekey } from '../../store/rekey.ts';
import type { RekeyProgress } from '../../store/rekey-state.ts';
import { type Route, route } from '../endpoint.ts';
import { issuerOf } from '../issuer.ts';
import { DATE } from '../schema/common.ts';

export interface KeysRoutesDeps {
  rekey: Rekey;
  codecKeys: Pick<CodecKeys, 'list' | 'rotate'>;
  /** See `CodecRoutesDeps`. */
  accessKey(): Promise<string>;
  /** Origin at which clients reach us; null: the one that their requests name. */
  publicUrl: string | null;
  /** Called when there is work for the upkeep. */
  wakeUpkeep(): void;
}

const REKEY = z
  .strictObject({
    status: z.enum(['running', 'done']).describe('`done`: the master key before is not needed any more.'),
    rewrapped: z.int().min(0).describe('Data keys that were wrapped anew.'),
    started_at: DATE,
    ended_at: DATE.nullable(),
  })
  .meta({ id: 'Rekey' });

const KEYS = z
  .strictObject({
    master: z.strictObject({ rekey: REKEY.nullable().describe('null: the master key was never replaced.') }),
    codec: z.strictObject({
      keys: z.array(z.strictObject({ id: z.string(), created_at: DATE })).describe('The last one encrypts; the others are kept as long as a history may need them.'),
      endpoint: z.string().describe("The codec server's address for Temporal's Web UI. Whoever has it can decrypt payloads; another codec key makes another address."),
    }),
  })
  .meta({ id: 'Keys' });

const PATH = '/usher/keys';

/** The keys under which everything is sealed, and their replacement while everything runs; docs/data-protection.md. */
export function keysRoutes({ rekey, codecKeys, accessKey, publicUrl, wakeUpkeep }: KeysRoutesDeps): Route[] {
  const common = { tag: 'keys', ours: true } as const;
  return [
    route(
      { ...common, operationId: 'get_keys', method: 'get', path: PATH, summary: 'Get the state of the keys', scopes: ['read:encryption_keys'], returns: KEYS },
      async ({ req }) => {
        const progress = await rekey.progress();
        return {
          master: { rekey: progress === null ? null : rekeyBody(progress) },
          codec: {
            keys: (await codecKeys.list()).map(({ id, createdAt }) => ({ id, created_at: new Date(createdAt).toISOString() })),
            endpoint: `${issuerOf(req, publicUrl)}usher/codec/${await accessKey()}`,
          },
        };
      },
    ),
    route(
      {
        ...common,
        operationId: 'post_master_rekey',
        method: 'post',
        path: `${PATH}/master/rekey`,
        summary: 'Replace the master key',
        description: 'By the one that every process was given as `USHER_MASTER_KEY`, with the one before as `USHER_MASTER_KEY_PREVIOUS`. It goes on in the background; see `GET /usher/keys`.',
        scopes: ['update:encryption_keys'],
        status: 202,
        returns: REKEY,
        errors: [409],
      },
      async ({ token }) => {
        const progress = await rekey.begin(token.clientId);
        wakeUpkeep();
        return rekeyBody(progress);
      },
    ),
    route(
      { ...common, operationId: 'post_codec_rotate', method: 'post', path: `${PATH}/codec/rotate`, summary: 'Encrypt what Temporal keeps under a new key from now on', scopes: ['update:encryption_keys'] },
      async ({ token }) => {
        await codecKeys.rotate(token.clientId);
      },
    ),
  ];
}

function rekeyBody({ rewrapped, startedAt, endedAt }: RekeyProgress): z.input<typeof REKEY> {
  return {
    status: endedAt === null ? 'running' : 'done',
    rewrapped,
    started_at: new Date(startedAt).toISOString(),
    ended_at: endedAt === null ? null : new Date(endedAt).toISOString(),
  };
}
