import { z } from 'zod';
import { managementError } from '../../domain/api-error.ts';
import type { ClientChange, ClientManagement, ClientRecord } from '../../store/client-management.ts';
import type { VerifiedToken } from '../auth.ts';
import { type Route, route } from '../endpoint.ts';
import { answerList, listOf } from '../paging.ts';
import { FIELDS_QUERY } from '../schema/common.ts';
import { selectFields } from '../select-fields.ts';
import { CLIENT, CLIENT_PATH, CREATE_CLIENT, LIST_CLIENTS_QUERY, UPDATE_CLIENT } from './schema.ts';

const PATH = '/api/v2/clients';

/** Create, read, update, delete and list clients, and make them new secrets. */
export function clientsRoutes({ clients }: { clients: ClientManagement }): Route[] {
  return [
    route(
      {
        operationId: 'get_clients',
        method: 'get',
        path: PATH,
        summary: 'List clients',
        tag: 'clients',
        scopes: ['read:clients', 'read:client_keys'],
        query: LIST_CLIENTS_QUERY,
        returns: listOf('clients', CLIENT),
      },
      async ({ query, token }) => {
        const { is_global: isGlobal, is_first_party: isFirstParty, app_type: appTypes } = query;
        const filter = { isFirstParty, appTypes: appTypes?.split(',') };
        return await answerList('clients', query, {
          read: async (part) => (isGlobal === true ? { items: [], total: 0 } : await clients.list(filter, part)),
          idOf: ({ id }) => id,
          answer: (client) => selectFields(clientAnswer(client, mayReadKeys(token)), query.fields, query.include_fields),
        });
      },
    ),
    route(
      {
        operationId: 'post_clients',
        method: 'post',
        path: PATH,
        summary: 'Create a client',
        tag: 'clients',
        scopes: ['create:clients'],
        body: CREATE_CLIENT,
        status: 201,
        returns: CLIENT,
        errors: [409],
      },
      async ({ body: { client_id: id, name, ...change } }) => clientAnswer(await clients.create({ ...changeOf(change), id, name }), true),
    ),
    route(
      {
        operationId: 'get_clients_by_id',
        method: 'get',
        path: `${PATH}/{id}`,
        summary: 'Get a client',
        tag: 'clients',
        scopes: ['read:clients', 'read:client_keys'],
        params: CLIENT_PATH,
        query: z.strictObject(FIELDS_QUERY),
        returns: CLIENT,
        errors: [404],
      },
      async ({ params, query, token }) =>
        selectFields(clientAnswer(await clients.get(params.id), mayReadKeys(token)), query.fields, query.include_fields),
    ),
    route(
      {
        operationId: 'patch_clients_by_id',
        method: 'patch',
        path: `${PATH}/{id}`,
        summary: 'Change a client',
        description:
          '`client_metadata` is merged with what is there, `null` takes an entry out, and an empty object all of them. `client_secret` and `encryption_key` need the scope `update:client_keys`.',
        tag: 'clients',
        scopes: ['update:clients', 'update:client_keys'],
        params: CLIENT_PATH,
        body: UPDATE_CLIENT,
        returns: CLIENT,
        errors: [404, 409],
      },
      async ({ params, body: { name, ...change }, token }) => {
        refuseKeys(change, token);
        return clientAnswer(await clients.update(params.id, { ...changeOf(change), name }), mayReadKeys(token));
      },
    ),
    route(
      {
        operationId: 'delete_clients_by_id',
        method: 'delete',
        path: `${PATH}/{id}`,
        summary: 'Delete a client and its grants',
        tag: 'clients',
        scopes: ['delete:clients'],
        params: CLIENT_PATH,
        errors: [409],
      },
      async ({ params }) => await clients.remove(params.id),
    ),
    route(
      {
        operationId: 'post_rotate_secret',
        method: 'post',
        path: `${PATH}/{id}/rotate-secret`,
        summary: 'Make a client a new secret; the one before is good no more',
        tag: 'clients',
        scopes: ['update:client_keys'],
        params: CLIENT_PATH,
        returns: CLIENT,
        errors: [404, 409],
      },
      async ({ params }) => clientAnswer(await clients.rotateSecret(params.id), true),
    ),
  ];
}

function mayReadKeys({ scopes }: VerifiedToken): boolean {
  return scopes.includes('read:client_keys');
}

/** Who sets a client's secret can be that client. @throws {ApiError} 403 */
function refuseKeys(change: Given, { scopes }: VerifiedToken): void {
  if (change.client_secret === undefined && change.encryption_key === undefined) return;
  if (!scopes.includes('update:client_keys')) throw managementError(403, 'Insufficient scope, expected any of: update:client_keys', 'insufficient_scope');
}

type Given = Omit<z.output<typeof UPDATE_CLIENT>, 'name'>;

function changeOf({ client_secret: secret, client_metadata: metadata, ...settings }: Given): ClientChange {
  return { secret, metadata: metadata === null ? {} : metadata, settings };
}

/** @param withKeys - also what Auth0 shows only with `read:client_keys`. */
function clientAnswer({ id, name, secret, metadata, settings }: ClientRecord, withKeys: boolean): z.input<typeof CLIENT> {
  const { encryption_key: _key, client_authentication_methods: _methods, ...open } = settings;
  return {
    name,
    client_id: id,
    ...(withKeys && secret !== null ? { client_secret: secret } : {}),
    ...((withKeys ? settings : open) as z.input<typeof CLIENT>),
    ...(Object.keys(metadata).length === 0 ? {} : { client_metadata: metadata }),
  };
}
