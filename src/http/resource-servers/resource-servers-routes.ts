import type { Request } from 'express';
import type { z } from 'zod';
import { managementError } from '../../domain/api-error.ts';
import { SCOPES } from '../../domain/scopes.ts';
import { noSuchServer, type ResourceServer, type ResourceServerStore } from '../../store/resource-servers.ts';
import type { Slice } from '../../store/slice.ts';
import { isManagementAudience, TOKEN_SECONDS } from '../auth.ts';
import { type Route, route } from '../endpoint.ts';
import { managementIdentifier } from '../management-api.ts';
import { answerList, listOf } from '../paging.ts';
import { CREATE_RESOURCE_SERVER, GET_RESOURCE_SERVER_QUERY, KEY_PATH, LIST_RESOURCE_SERVERS_QUERY, RESOURCE_SERVER, UPDATE_RESOURCE_SERVER } from './schema.ts';

const PATH = '/api/v2/resource-servers';

/** Of our Management API; it is on no list of the store and comes first on those of the API. */
const MANAGEMENT_ID = 'management-api';

/** Create, read, update, delete and list resource servers (APIs that tokens are for). */
export function resourceServersRoutes({ resourceServers }: { resourceServers: ResourceServerStore }): Route[] {
  return [
    route(
      {
        operationId: 'get_resource_servers',
        method: 'get',
        path: PATH,
        summary: 'List resource servers',
        tag: 'resource-servers',
        scopes: ['read:resource_servers'],
        query: LIST_RESOURCE_SERVERS_QUERY,
        returns: listOf('resource_servers', RESOURCE_SERVER),
      },
      async ({ query, req }) => {
        const identifiers = query.identifiers === undefined ? undefined : [query.identifiers].flat();
        return await answerList('resource_servers', query, {
          read: (part) => readWithManagement(resourceServers, identifiers, part),
          idOf: (server) => server?.id ?? MANAGEMENT_ID,
          answer: (server) => (server === null ? managementAnswer(req) : serverAnswer(server)),
        });
      },
    ),
    route(
      {
        operationId: 'post_resource_servers',
        method: 'post',
        path: PATH,
        summary: 'Create a resource server',
        tag: 'resource-servers',
        scopes: ['create:resource_servers'],
        body: CREATE_RESOURCE_SERVER,
        status: 201,
        returns: RESOURCE_SERVER,
        errors: [409],
      },
      async ({ body: { identifier, name = identifier, scopes, ...kept } }) =>
        serverAnswer(await resourceServers.create({ identifier, name, scopes: scopes ?? [], settings: { ...DEFAULTS, ...kept } })),
    ),
    route(
      {
        operationId: 'get_resource_servers_by_id',
        method: 'get',
        path: `${PATH}/{id}`,
        summary: 'Get a resource server by its id or identifier',
        tag: 'resource-servers',
        scopes: ['read:resource_servers'],
        params: KEY_PATH,
        query: GET_RESOURCE_SERVER_QUERY,
        returns: RESOURCE_SERVER,
        errors: [404],
      },
      async ({ params, req }) => {
        if (isManagement(params.id)) return managementAnswer(req);
        const server = await resourceServers.find(params.id);
        if (server === null) throw noSuchServer();
        return serverAnswer(server);
      },
    ),
    route(
      {
        operationId: 'patch_resource_servers_by_id',
        method: 'patch',
        path: `${PATH}/{id}`,
        summary: 'Change a resource server',
        tag: 'resource-servers',
        scopes: ['update:resource_servers'],
        params: KEY_PATH,
        body: UPDATE_RESOURCE_SERVER,
        returns: RESOURCE_SERVER,
        errors: [404],
      },
      async ({ params, body: { name, scopes, ...settings } }) => {
        keepManagement(params.id);
        return serverAnswer(await resourceServers.update(params.id, { name, scopes: scopes === null ? [] : scopes, settings }));
      },
    ),
    route(
      {
        operationId: 'delete_resource_servers_by_id',
        method: 'delete',
        path: `${PATH}/{id}`,
        summary: 'Delete a resource server and the grants for it',
        tag: 'resource-servers',
        scopes: ['delete:resource_servers'],
        params: KEY_PATH,
      },
      async ({ params }) => {
        keepManagement(params.id);
        await resourceServers.remove(params.id);
      },
    ),
  ];
}

/** What Auth0 fills in of a resource server that is made (terraform-provider-auth0's recordings of 2026). */
const DEFAULTS = {
  allow_offline_access: false,
  skip_consent_for_verifiable_first_party_clients: false,
  subject_type_authorization: { user: { policy: 'allow_all' }, client: { policy: 'require_client_grant' } },
  token_lifetime: TOKEN_SECONDS,
  token_lifetime_for_web: 7200,
  signing_alg: 'RS256',
};

function isManagement(key: string): boolean {
  return key === MANAGEMENT_ID || isManagementAudience(key);
}

/** @throws {ApiError} 403 for our own Management API. */
function keepManagement(key: string): void {
  if (isManagement(key)) throw managementError(403, 'The Management API is a system API: it cannot be changed or deleted.', 'operation_not_supported');
}

/** The list with the Management API (null) before all others. */
async function readWithManagement(store: ResourceServerStore, identifiers: string[] | undefined, { limit, offset = 0, after }: Slice) {
  const isListed = identifiers === undefined || identifiers.some(isManagementAudience);
  const others = identifiers?.filter((identifier) => !isManagementAudience(identifier));
  const isFirst = isListed && offset === 0 && after === undefined;
  const { items, total } = await store.list({ identifiers: others }, {
    limit: isFirst ? limit - 1 : limit,
    offset: isListed && offset > 0 ? offset - 1 : offset,
    ...(after === undefined || after === MANAGEMENT_ID ? {} : { after }),
  });
  return { items: isFirst ? [null, ...items] : items, total: total + (isListed ? 1 : 0) };
}

function managementAnswer(req: Request): z.input<typeof RESOURCE_SERVER> {
  return {
    id: MANAGEMENT_ID,
    // Auth0's tools know it by this name.
    name: 'Auth0 Management API',
    identifier: managementIdentifier(req),
    is_system: true,
    allow_offline_access: false,
    skip_consent_for_verifiable_first_party_clients: false,
    token_lifetime: TOKEN_SECONDS,
    signing_alg: 'RS256',
    scopes: SCOPES.map((value) => ({ value })),
  };
}

function serverAnswer({ id, name, identifier, scopes, settings }: ResourceServer): z.input<typeof RESOURCE_SERVER> {
  return { id, name, identifier, ...settings, ...(scopes.length === 0 ? {} : { scopes }) } as z.input<typeof RESOURCE_SERVER>;
}
