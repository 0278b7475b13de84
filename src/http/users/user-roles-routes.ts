import type { RoleStore } from '../../store/roles.ts';
import { type Route, route } from '../endpoint.ts';
import { roleListAnswer } from '../roles/answers.ts';
import { PAGE_QUERY, ROLE_LIST, ROLES_BODY } from '../roles/schema.ts';
import { USER_PATH } from './requests.ts';

const PATH = '/api/v2/users/{id}/roles';

/** The roles of a user. */
export function userRolesRoutes({ roles }: { roles: RoleStore }): Route[] {
  return [
    route(
      {
        operationId: 'get_user_roles',
        method: 'get',
        path: PATH,
        summary: "List a user's roles",
        tag: 'users',
        scopes: ['read:users', 'read:roles'],
        params: USER_PATH,
        query: PAGE_QUERY,
        returns: ROLE_LIST,
        errors: [404],
      },
      async ({ params, query: { page, per_page: limit, include_totals: totals } }) => {
        const start = page * limit;
        const { items, total } = await roles.ofUser(params.id, { limit, offset: start });
        return roleListAnswer(items, total, { start, limit, totals });
      },
    ),
    route(
      {
        operationId: 'post_user_roles',
        method: 'post',
        path: PATH,
        summary: 'Assign roles to a user',
        description: 'All of them, or none when one does not exist.',
        tag: 'users',
        scopes: ['update:users', 'create:role_members'],
        params: USER_PATH,
        body: ROLES_BODY,
        errors: [404],
      },
      async ({ params, body }) => {
        await roles.assign([params.id], body.roles);
      },
    ),
    route(
      {
        operationId: 'delete_user_roles',
        method: 'delete',
        path: PATH,
        summary: 'Remove roles from a user',
        tag: 'users',
        scopes: ['update:users', 'delete:role_members'],
        params: USER_PATH,
        body: ROLES_BODY,
        errors: [404],
      },
      async ({ params, body }) => {
        await roles.unassign(params.id, body.roles);
      },
    ),
  ];
}
