import type { Request } from 'express';
import type { z } from 'zod';
import type { ClientGrant, ClientGrantStore } from '../../store/client-grants.ts';
import { type Route, route } from '../endpoint.ts';
import { shownAudience, storedAudience } from '../management-api.ts';
import { answerList, listOf } from '../paging.ts';
import { ID_PATH } from '../schema/common.ts';
import { CREATE_GRANT, GRANT, LIST_GRANTS_QUERY, UPDATE_GRANT } from './schema.ts';

const PATH = '/api/v2/client-grants';

/** What clients may ask for of the Management API and of other APIs. */
export function clientGrantsRoutes({ grants }: { grants: ClientGrantStore }): Route[] {
  return [
    route(
      {
        operationId: 'get_client_grants',
        method: 'get',
        path: PATH,
        summary: 'List client grants',
        tag: 'client-grants',
        scopes: ['read:client_grants'],
        query: LIST_GRANTS_QUERY,
        returns: listOf('client_grants', GRANT),
      },
      async ({ query, req }) => {
        const { client_id: clientId, audience, subject_type: subjectType, allow_any_organization: anyOrganization, default_for: defaultFor } = query;
        const filter = { clientId, audience: audience === undefined ? undefined : storedAudience(audience), subjectType };
        const isNone = anyOrganization === true || defaultFor !== undefined;
        return await answerList('client_grants', query, {
          read: async (part) => (isNone ? { items: [], total: 0 } : await grants.list(filter, part)),
          idOf: ({ id }) => id,
          answer: (grant) => grantAnswer(grant, req),
        });
      },
    ),
    route(
      {
        operationId: 'post_client_grants',
        method: 'post',
        path: PATH,
        summary: 'Create a client grant',
        tag: 'client-grants',
        scopes: ['create:client_grants'],
        body: CREATE_GRANT,
        status: 201,
        returns: GRANT,
        errors: [409],
      },
      async ({ body: { client_id: clientId, audience, scope, subject_type: subjectType, ...settings }, req }) =>
        grantAnswer(await grants.create({ clientId, audience: storedAudience(audience), scope: scope ?? [], subjectType, settings }), req),
    ),
    route(
      {
        operationId: 'get_client_grant',
        method: 'get',
        path: `${PATH}/{id}`,
        summary: 'Get a client grant',
        tag: 'client-grants',
        scopes: ['read:client_grants'],
        params: ID_PATH,
        returns: GRANT,
        errors: [404],
      },
      async ({ params, req }) => grantAnswer(await grants.get(params.id), req),
    ),
    route(
      {
        operationId: 'patch_client_grants_by_id',
        method: 'patch',
        path: `${PATH}/{id}`,
        summary: 'Change a client grant',
        tag: 'client-grants',
        scopes: ['update:client_grants'],
        params: ID_PATH,
        body: UPDATE_GRANT,
        returns: GRANT,
        errors: [404, 409],
      },
      async ({ params, body: { scope, ...settings }, req }) =>
        grantAnswer(await grants.update(params.id, { ...(scope === undefined ? {} : { scope: scope ?? [] }), settings }), req),
    ),
    route(
      {
        operationId: 'delete_client_grants_by_id',
        method: 'delete',
        path: `${PATH}/{id}`,
        summary: 'Delete a client grant',
        tag: 'client-grants',
        scopes: ['delete:client_grants'],
        params: ID_PATH,
        errors: [409],
      },
      async ({ params }) => await grants.remove(params.id),
    ),
  ];
}

function grantAnswer({ id, clientId, audience, scope, subjectType, settings }: ClientGrant, req: Request): z.input<typeof GRANT> {
  return { id, client_id: clientId, audience: shownAudience(audience, req), scope, subject_type: subjectType, ...settings };
}
