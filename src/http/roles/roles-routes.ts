import type { RoleStore } from '../../store/roles.ts';
import { type Route, route } from '../endpoint.ts';
import { answerList, listOf } from '../paging.ts';
import { ID_PATH } from '../schema/common.ts';
import { roleAnswer, roleListAnswer, roleUserAnswer } from './answers.ts';
import {
  CREATE_ROLE_BODY, LIST_ROLES_QUERY, NOTHING, ROLE, ROLE_LIST, ROLE_USER, ROLE_USERS_QUERY, UPDATE_ROLE_BODY, USERS_BODY,
} from './schema.ts';

const PATH = '/api/v2/roles/{id}';

/** The roles, and who has them. */
export function rolesRoutes({ roles }: { roles: RoleStore }): Route[] {
  return [
    route(
      {
        operationId: 'get_roles',
        method: 'get',
        path: '/api/v2/roles',
        summary: 'List roles',
        tag: 'roles',
        scopes: ['read:roles'],
        query: LIST_ROLES_QUERY,
        returns: ROLE_LIST,
      },
      async ({ query: { page, per_page: limit, include_totals: totals, name_filter: name } }) => {
        const start = page * limit;
        const { items, total } = await roles.list({ name }, { limit, offset: start });
        return roleListAnswer(items, total, { start, limit, totals });
      },
    ),
    route(
      {
        operationId: 'post_roles',
        method: 'post',
        path: '/api/v2/roles',
        summary: 'Create a role',
        tag: 'roles',
        scopes: ['create:roles'],
        body: CREATE_ROLE_BODY,
        returns: ROLE,
        errors: [409],
      },
      async ({ body: { name, description } }) => roleAnswer(await roles.create({ name, description })),
    ),
    route(
      {
        operationId: 'get_roles_by_id',
        method: 'get',
        path: PATH,
        summary: 'Get a role',
        tag: 'roles',
        scopes: ['read:roles'],
        params: ID_PATH,
        returns: ROLE,
        errors: [404],
      },
      async ({ params }) => roleAnswer(await roles.find(params.id)),
    ),
    route(
      {
        operationId: 'patch_roles_by_id',
        method: 'patch',
        path: PATH,
        summary: 'Update a role',
        tag: 'roles',
        scopes: ['update:roles'],
        params: ID_PATH,
        body: UPDATE_ROLE_BODY,
        returns: ROLE,
        errors: [404, 409],
      },
      async ({ params, body: { name, description } }) => {
        const change = { ...(name === undefined ? {} : { name }), ...(description === undefined ? {} : { description }) };
        return roleAnswer(await roles.update(params.id, change));
      },
    ),
    route(
      {
        operationId: 'delete_roles_by_id',
        method: 'delete',
        path: PATH,
        summary: 'Delete a role',
        tag: 'roles',
        scopes: ['delete:roles'],
        params: ID_PATH,
        returns: NOTHING,
        errors: [404],
      },
      async ({ params }) => {
        await roles.remove(params.id);
        return {};
      },
    ),
    route(
      {
        operationId: 'get_role_user',
        method: 'get',
        path: `${PATH}/users`,
        summary: "List a role's users",
        description: 'By page, or by checkpoint with `from` and `take`, which nothing else goes together with.',
        tag: 'roles',
        scopes: ['read:users', 'read:roles', 'read:role_members'],
        params: ID_PATH,
        query: ROLE_USERS_QUERY,
        returns: listOf('users', ROLE_USER),
        errors: [404],
      },
      async ({ params, query }) =>
        await answerList('users', query, { read: (part) => roles.usersOf(params.id, part), idOf: ({ id }) => id, answer: roleUserAnswer }),
    ),
    route(
      {
        operationId: 'post_role_users',
        method: 'post',
        path: `${PATH}/users`,
        summary: 'Assign users to a role',
        tag: 'roles',
        scopes: ['create:role_members', 'update:roles'],
        params: ID_PATH,
        body: USERS_BODY,
        returns: NOTHING,
        errors: [404],
      },
      async ({ params, body }) => {
        await roles.assign(body.users, [params.id]);
        return {};
      },
    ),
  ];
}
