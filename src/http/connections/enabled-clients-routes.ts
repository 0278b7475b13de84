import type { ConnectionManagement } from '../../store/connection-management.ts';
import { type Route, route } from '../endpoint.ts';
import { ID_PATH } from '../schema/common.ts';
import { CLIENTS_ANSWER, CLIENTS_BODY, CLIENTS_QUERY } from './schema.ts';

const PATH = '/api/v2/connections/{id}/clients';

/** Which clients may use a connection; Auth0's newer form of `enabled_clients`. */
export function enabledClientsRoutes({ connections }: { connections: Pick<ConnectionManagement, 'get' | 'setClients'> }): Route[] {
  return [
    route(
      {
        operationId: 'get_connection_clients',
        method: 'get',
        path: PATH,
        summary: 'List the clients that a connection is enabled for',
        tag: 'connections',
        scopes: ['read:connections'],
        params: ID_PATH,
        query: CLIENTS_QUERY,
        returns: CLIENTS_ANSWER,
        errors: [404],
      },
      async ({ params, query: { from, take } }) => {
        const { enabledClients } = await connections.get(params.id);
        const rest = enabledClients.toSorted().filter((id) => from === undefined || id > from);
        const page = rest.slice(0, take);
        return { clients: page.map((id) => ({ client_id: id })), ...(rest.length > take ? { next: page.at(-1)! } : {}) };
      },
    ),
    route(
      {
        operationId: 'patch_clients',
        method: 'patch',
        path: PATH,
        summary: 'Enable or disable a connection for clients',
        tag: 'connections',
        scopes: ['update:connections'],
        params: ID_PATH,
        body: CLIENTS_BODY,
        errors: [404],
      },
      async ({ params, body }) => {
        await connections.setClients(params.id, body.map(({ client_id: clientId, status }) => ({ clientId, enabled: status })));
      },
    ),
  ];
}
