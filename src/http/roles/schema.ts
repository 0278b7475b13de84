import { z } from 'zod';
import { listQuery } from '../paging.ts';
import { pageQuery, TOTALS_QUERY } from '../schema/common.ts';
import { USER_ID } from '../users/requests.ts';

export const ROLE = z
  .strictObject({ id: z.string(), name: z.string(), description: z.string().optional() })
  .meta({ id: 'Role' });

/** A page of roles; with `include_totals` the object. */
export const ROLE_LIST = z.union([
  z.array(ROLE),
  z.strictObject({ start: z.int(), limit: z.int(), total: z.int(), roles: z.array(ROLE) }),
]);

export const ROLE_USER = z
  .strictObject({ user_id: z.string(), email: z.string().optional(), picture: z.string().optional(), name: z.string().optional() })
  .meta({ id: 'RoleUser' });

const PERMISSION = z
  .strictObject({ permission_name: z.string(), description: z.string().optional(), resource_server_identifier: z.string(), resource_server_name: z.string() })
  .meta({ id: 'Permission' });

export const PERMISSION_LIST = z.union([
  z.array(PERMISSION),
  z.strictObject({ start: z.int(), limit: z.int(), total: z.int(), permissions: z.array(PERMISSION) }),
]);

const ROLE_FIELDS = {
  name: z.string().min(1).max(256),
  description: z.string().max(1000),
};

/** Roles of organizations are not here. */
const TYPE = z.literal('tenant').optional();

export const CREATE_ROLE_BODY = z.strictObject({ ...ROLE_FIELDS, description: ROLE_FIELDS.description.default(''), type: TYPE });
export const UPDATE_ROLE_BODY = z.strictObject(ROLE_FIELDS).partial();

export const LIST_ROLES_QUERY = pageQuery(50).extend({
  ...TOTALS_QUERY,
  name_filter: z.string().max(256).optional().describe('A part of the name, in whatever case.'),
  type: TYPE,
});

export const PAGE_QUERY = pageQuery(50).extend(TOTALS_QUERY);

/** Users' ids are longer than others. */
export const ROLE_USERS_QUERY = listQuery(50).extend({ from: USER_ID.optional().describe('Checkpoint: the `next` of the answer before.') });

/** In one request. */
const ASSIGNED = 1000;

export const ROLES_BODY = z.strictObject({ roles: z.array(z.string().min(1).max(64)).min(1).max(ASSIGNED) });
/** Clients send back what they have read, so that everything that describes a permission is allowed, and ignored. */
export const PERMISSIONS_BODY = z.strictObject({
  permissions: z
    .array(
      z.strictObject({
        permission_name: z.string().min(1).max(280),
        resource_server_identifier: z.string().min(1).max(600),
        resource_server_name: z.unknown().optional(),
        description: z.unknown().optional(),
      }),
    )
    .min(1)
    .max(ASSIGNED),
});
export const USERS_BODY = z.strictObject({ users: z.array(USER_ID).min(1).max(ASSIGNED) });

/** What Auth0 answers where there is nothing to say. */
export const NOTHING = z.strictObject({});
