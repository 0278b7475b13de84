import { z } from 'zod';
import { managementError } from '../../domain/api-error.ts';
import type { ConnectionChange, ConnectionManagement, ConnectionRecord } from '../../store/connection-management.ts';
import type { ConnectionOptions } from '../../store/connections.ts';
import { type Route, route } from '../endpoint.ts';
import { answerList, listOf } from '../paging.ts';
import { FIELDS_QUERY, ID_PATH } from '../schema/common.ts';
import { selectFields } from '../select-fields.ts';
import { CONNECTION, CREATE_CONNECTION, DELETED, EMAIL_QUERY, LIST_CONNECTIONS_QUERY, UPDATE_CONNECTION } from './schema.ts';

const PATH = '/api/v2/connections';

/** What Auth0 fills in of a database connection. */
const DATABASE_OPTIONS = { passwordPolicy: 'good', strategy_version: 2, brute_force_protection: true } satisfies ConnectionOptions;

/** Create, read, update, delete and list connections. */
export function connectionsRoutes({ connections }: { connections: ConnectionManagement }): Route[] {
  return [
    route(
      {
        operationId: 'get_connections',
        method: 'get',
        path: PATH,
        summary: 'List connections',
        tag: 'connections',
        scopes: ['read:connections'],
        query: LIST_CONNECTIONS_QUERY,
        returns: listOf('connections', CONNECTION),
      },
      async ({ query }) => {
        const filter = { strategies: query.strategy === undefined ? undefined : [query.strategy].flat(), name: query.name };
        return await answerList('connections', query, {
          read: (part) => connections.list(filter, part),
          idOf: ({ id }) => id,
          answer: (connection) => selectFields(connectionAnswer(connection), query.fields, query.include_fields),
        });
      },
    ),
    route(
      {
        operationId: 'post_connections',
        method: 'post',
        path: PATH,
        summary: 'Create a connection',
        description: 'Without `enabled_clients`, no client may use it.',
        tag: 'connections',
        scopes: ['create:connections'],
        body: CREATE_CONNECTION,
        status: 201,
        returns: CONNECTION,
        errors: [409],
      },
      async ({ body: { name, strategy, ...rest } }) => {
        const change = changeOf(rest);
        const options = strategy === 'auth0' ? { ...DATABASE_OPTIONS, ...change.options } : change.options;
        return connectionAnswer(await connections.create({ ...change, name, strategy, options }));
      },
    ),
    route(
      {
        operationId: 'get_connections_by_id',
        method: 'get',
        path: `${PATH}/{id}`,
        summary: 'Get a connection',
        tag: 'connections',
        scopes: ['read:connections'],
        params: ID_PATH,
        query: z.strictObject(FIELDS_QUERY),
        returns: CONNECTION,
        errors: [404],
      },
      async ({ params, query }) => selectFields(connectionAnswer(await connections.get(params.id)), query.fields, query.include_fields),
    ),
    route(
      {
        operationId: 'patch_connections_by_id',
        method: 'patch',
        path: `${PATH}/{id}`,
        summary: 'Change a connection',
        description: '`options` takes the place of all options there are.',
        tag: 'connections',
        scopes: ['update:connections'],
        params: ID_PATH,
        body: UPDATE_CONNECTION,
        returns: CONNECTION,
        errors: [404],
      },
      async ({ params, body }) => connectionAnswer(await connections.update(params.id, changeOf(body))),
    ),
    route(
      {
        operationId: 'delete_connections_by_id',
        method: 'delete',
        path: `${PATH}/{id}`,
        summary: 'Delete a connection and its users',
        tag: 'connections',
        scopes: ['delete:connections'],
        params: ID_PATH,
        status: 202,
        returns: DELETED,
      },
      async ({ params }) => {
        await connections.remove(params.id);
        return { deleted_at: new Date().toISOString() };
      },
    ),
    route(
      {
        operationId: 'delete_users_by_email',
        method: 'delete',
        path: `${PATH}/{id}/users`,
        summary: 'Delete the user of an e-mail address',
        tag: 'connections',
        scopes: ['delete:users'],
        params: ID_PATH,
        query: EMAIL_QUERY,
        errors: [404],
      },
      async ({ params, query }) => await connections.removeUser(params.id, query.email),
    ),
  ];
}

/** @throws {ApiError} 400 when the bounds of a username contradict each other. */
function changeOf({ options, metadata, enabled_clients: enabledClients, ...settings }: z.output<typeof UPDATE_CONNECTION>): ConnectionChange {
  const { min = 1, max = 128 } = options?.validation?.username ?? {};
  if (min > max) throw managementError(400, `Payload validation error: 'min must not be greater than max' on property options.validation.username.`, 'invalid_body');
  return {
    options: options === null ? {} : (options as ConnectionOptions | undefined),
    metadata: metadata === null ? {} : metadata,
    enabledClients: enabledClients ?? undefined,
    settings,
  };
}

function connectionAnswer({ id, name, strategy, options, metadata, enabledClients, settings }: ConnectionRecord): z.input<typeof CONNECTION> {
  return {
    id,
    options,
    strategy,
    name,
    is_domain_connection: false,
    realms: [name],
    ...settings,
    enabled_clients: enabledClients,
    ...(Object.keys(metadata).length === 0 ? {} : { metadata }),
  };
}
