import { z } from 'zod';
import { managementError } from '../../domain/api-error.ts';
import type { ClientStore } from '../../store/clients.ts';
import type { UserPage, UserSearch, UserStore } from '../../store/users.ts';
import { type Route, route } from '../endpoint.ts';
import { type FingerprintHeaders, requestFacts } from '../request-facts.ts';
import { selectFields } from '../select-fields.ts';
import { userAnswer } from './answers.ts';
import { createUser, type CreateUserDeps } from './create-user.ts';
import { BY_EMAIL_QUERY, CREATE_USER_BODY, LIST_USERS_QUERY, UPDATE_USER_BODY, USER_PATH, USER_QUERY } from './requests.ts';
import { USER } from './schema.ts';
import { updateUser, type UpdateUserDeps } from './update-user.ts';

export interface UsersRoutesDeps extends CreateUserDeps {
  users: UserStore;
  userMails: UpdateUserDeps['userMails'];
  clients: Pick<ClientStore, 'find'>;
  /** The condition that `q` means, and the order that `sort` means; they throw an `ApiError` for what they cannot read. */
  search: { condition(q: string): NonNullable<UserSearch['condition']>; order(sort: string): NonNullable<UserPage['order']> };
  fingerprintHeaders: FingerprintHeaders;
}

/** A search shows no more; who wants more narrows it down, as on Auth0. */
const LISTED = 1000;

/** The users. */
export function usersRoutes(deps: UsersRoutesDeps): Route[] {
  const { users, clients, search } = deps;
  return [
    route(
      {
        operationId: 'get_users',
        method: 'get',
        path: '/api/v2/users',
        summary: 'List or search users',
        description: `The first ${LISTED} of those that match.`,
        tag: 'users',
        scopes: ['read:users'],
        query: LIST_USERS_QUERY,
        returns: z.union([
          z.array(USER),
          z.strictObject({ start: z.int(), limit: z.int(), length: z.int(), total: z.int(), users: z.array(USER) }),
        ]),
      },
      async ({ query }) => {
        const { page, per_page: limit, q = '', sort, connection } = query;
        const start = page * limit;
        if (start >= LISTED) throw managementError(400, `You can only page through the first ${LISTED} records.`, 'invalid_paging');
        const wanted: UserSearch = { condition: q.trim() === '' ? undefined : search.condition(q), connection };
        const found = await users.list(wanted, { limit, offset: start, order: sort === undefined ? undefined : search.order(sort) });
        const items = found.map((user) => selectFields(userAnswer(user), query.fields, query.include_fields));
        if (!query.include_totals) return items;
        return { start, limit, length: items.length, total: await users.count(wanted), users: items };
      },
    ),
    route(
      {
        operationId: 'post_users',
        method: 'post',
        path: '/api/v2/users',
        summary: 'Create a user',
        description: 'A registration: the pre-user-registration Actions are asked, and the post-user-registration Actions run.',
        tag: 'users',
        scopes: ['create:users'],
        body: CREATE_USER_BODY,
        status: 201,
        returns: USER,
        errors: [409],
      },
      async ({ body, token, req }) => {
        const client = await clients.find(token.clientId);
        const request = requestFacts(req, deps.fingerprintHeaders);
        const id = await createUser(deps, body, { client, request, body: req.body as Record<string, unknown> });
        return userAnswer(await users.find(id));
      },
    ),
    route(
      {
        operationId: 'get_users_by_id',
        method: 'get',
        path: '/api/v2/users/{id}',
        summary: 'Get a user',
        tag: 'users',
        scopes: ['read:users'],
        params: USER_PATH,
        query: USER_QUERY,
        returns: USER,
        errors: [404],
      },
      async ({ params, query }) => selectFields(userAnswer(await users.find(params.id)), query.fields, query.include_fields),
    ),
    route(
      {
        operationId: 'patch_users_by_id',
        method: 'patch',
        path: '/api/v2/users/{id}',
        summary: 'Update a user',
        description: 'With the scope `update:users_app_metadata` alone, only `app_metadata`.',
        tag: 'users',
        scopes: ['update:users', 'update:users_app_metadata'],
        params: USER_PATH,
        body: UPDATE_USER_BODY,
        returns: USER,
        errors: [404],
      },
      async ({ params, body, token }) => {
        const mayAll = token.scopes.includes('update:users');
        if (!mayAll && Object.keys(body).some((field) => field !== 'app_metadata')) {
          throw managementError(403, 'Insufficient scope, expected any of: update:users', 'insufficient_scope');
        }
        return userAnswer(await updateUser(deps, params.id, body));
      },
    ),
    route(
      {
        operationId: 'delete_users_by_id',
        method: 'delete',
        path: '/api/v2/users/{id}',
        summary: 'Delete a user',
        description: 'Also when there is none. What was registered runs to its end.',
        tag: 'users',
        scopes: ['delete:users'],
        params: USER_PATH,
      },
      async ({ params }) => {
        await users.remove(params.id);
      },
    ),
    route(
      {
        operationId: 'get_users-by-email',
        method: 'get',
        path: '/api/v2/users-by-email',
        summary: 'Search users by e-mail address',
        tag: 'users-by-email',
        scopes: ['read:users'],
        query: BY_EMAIL_QUERY,
        returns: z.array(USER),
      },
      async ({ query }) => {
        const found = await users.findByEmail(query.email);
        return found.map((user) => selectFields(userAnswer(user), query.fields, query.include_fields));
      },
    ),
  ];
}
