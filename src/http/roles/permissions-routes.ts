import type { Request } from 'express';
import { managementError } from '../../domain/api-error.ts';
import { SCOPES } from '../../domain/scopes.ts';
import { MANAGEMENT_AUDIENCE } from '../../store/clients.ts';
import { noSuchServer, type ResourceServerStore } from '../../store/resource-servers.ts';
import type { Permission, RolePermissionStore } from '../../store/role-permissions.ts';
import { type Route, route } from '../endpoint.ts';
import { shownAudience, storedAudience } from '../management-api.ts';
import { ID_PATH } from '../schema/common.ts';
import { NOTHING, PAGE_QUERY, PERMISSION_LIST, PERMISSIONS_BODY } from './schema.ts';

const PATH = '/api/v2/roles/{id}/permissions';
const MANAGEMENT = { name: 'Auth0 Management API', scopes: SCOPES.map((value) => ({ value, description: undefined })) };

/** What roles may do, for tools that keep it: our tokens carry scopes, no permissions. */
export function rolePermissionsRoutes({ permissions, resourceServers }: { permissions: RolePermissionStore; resourceServers: Pick<ResourceServerStore, 'find'> }): Route[] {
  const find = async (audience: string) => (audience === MANAGEMENT_AUDIENCE ? MANAGEMENT : await resourceServers.find(audience));

  async function answer({ audience, name }: Permission, req: Request) {
    const api = await find(audience);
    const description = api?.scopes.find(({ value }) => value === name)?.description;
    return {
      permission_name: name,
      ...(description === undefined ? {} : { description }),
      resource_server_identifier: shownAudience(audience, req),
      resource_server_name: api?.name ?? audience,
    };
  }

  return [
    route(
      {
        operationId: 'get_role_permission',
        method: 'get',
        path: PATH,
        summary: "List a role's permissions",
        tag: 'roles',
        scopes: ['read:roles'],
        params: ID_PATH,
        query: PAGE_QUERY,
        returns: PERMISSION_LIST,
        errors: [404],
      },
      async ({ params, query: { page, per_page: limit, include_totals: totals }, req }) => {
        const start = page * limit;
        const { items, total } = await permissions.list(params.id, { limit, offset: start });
        const answers = await Promise.all(items.map((item) => answer(item, req)));
        return totals ? { start, limit, total, permissions: answers } : answers;
      },
    ),
    route(
      {
        operationId: 'post_role_permission_assignment',
        method: 'post',
        path: PATH,
        summary: 'Give permissions to a role',
        tag: 'roles',
        scopes: ['update:roles'],
        params: ID_PATH,
        body: PERMISSIONS_BODY,
        status: 201,
        returns: NOTHING,
        errors: [404],
      },
      async ({ params, body }) => {
        const wanted = body.permissions.map(asPermission);
        for (const { audience, name } of wanted) {
          const api = await find(audience);
          if (api === null) throw noSuchServer();
          if (!api.scopes.some(({ value }) => value === name)) throw managementError(404, `The API ${api.name} has no permission '${name}'.`, 'inexistent_permission');
        }
        await permissions.add(params.id, wanted);
        return {};
      },
    ),
    route(
      {
        operationId: 'delete_role_permission_assignment',
        method: 'delete',
        path: PATH,
        summary: 'Take permissions from a role',
        tag: 'roles',
        scopes: ['update:roles'],
        params: ID_PATH,
        body: PERMISSIONS_BODY,
        errors: [404],
      },
      async ({ params, body }) => await permissions.remove(params.id, body.permissions.map(asPermission)),
    ),
  ];
}

function asPermission({ resource_server_identifier: identifier, permission_name: name }: { resource_server_identifier: string; permission_name: string }): Permission {
  return { audience: storedAudience(identifier), name };
}
