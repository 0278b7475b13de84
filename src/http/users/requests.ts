import { z } from 'zod';
import { FIELDS_QUERY, FLAG, pageQuery, TOTALS_QUERY } from '../schema/common.ts';
import { EMAIL_ADDRESS, PHONE_NUMBER, PROFILE, USERNAME } from '../schema/user.ts';

/** With the provider: `auth0|5f7c8ec7c33c6c004bbafe82`. */
export const USER_ID = z.string().min(1).max(300);

export const USER_PATH = z.strictObject({ id: USER_ID });

export const USER_QUERY = z.strictObject(FIELDS_QUERY);

export const LIST_USERS_QUERY = pageQuery(50).extend({
  ...TOTALS_QUERY,
  ...FIELDS_QUERY,
  sort: z.string().max(100).optional().describe('`field:1` upwards, `field:-1` downwards.'),
  connection: z.string().min(1).max(128).optional().describe('Only users of the connection with this name.'),
  q: z.string().max(5000).optional().describe('The subset of Lucene that docs/user-search.md tells.'),
  search_engine: z.literal('v3').optional().describe('Auth0 has ended the versions before.'),
  primary_order: FLAG.optional().describe('The order is always the same.'),
});

export const BY_EMAIL_QUERY = z.strictObject({
  ...FIELDS_QUERY,
  email: z.string().min(1).max(254).describe('As it is kept: in lower case.'),
});

const PASSWORD = z.string().min(1).max(1000);
const METADATA = z.record(z.string(), z.unknown());

/** Fields: contract §4.5. Which of them a user needs and may have depends on the connection. */
export const CREATE_USER_BODY = z
  .strictObject({
    connection: z.string().min(1).max(128).describe('Name of a database or passwordless connection.'),
    email: EMAIL_ADDRESS.optional(),
    username: USERNAME.optional(),
    phone_number: PHONE_NUMBER.optional(),
    password: PASSWORD.optional(),
    user_id: z.string().min(1).max(255).regex(/^\S+$/).optional().describe('Without the provider, which is put before it.'),
    email_verified: z.boolean().optional(),
    verify_email: z.boolean().optional().describe('A mail asks the user to verify the address. Default: the opposite of `email_verified`.'),
    phone_verified: z.boolean().optional(),
    blocked: z.boolean().optional(),
    given_name: PROFILE.given_name.optional(),
    family_name: PROFILE.family_name.optional(),
    name: PROFILE.name.optional(),
    nickname: PROFILE.nickname.optional(),
    picture: PROFILE.picture.optional(),
    user_metadata: METADATA.optional(),
    app_metadata: METADATA.optional(),
  })
  .meta({ id: 'NewUser' });

/** `null` removes what can be missing. */
export const UPDATE_USER_BODY = z
  .strictObject({
    connection: z.string().min(1).max(128).optional().describe("Name of the user's connection."),
    client_id: z.string().min(1).max(100).optional().describe('For whom the mail of `verify_email` is sent.'),
    email: EMAIL_ADDRESS.nullable().optional(),
    username: USERNAME.nullable().optional(),
    phone_number: PHONE_NUMBER.nullable().optional(),
    password: PASSWORD.optional(),
    email_verified: z.boolean().optional(),
    verify_email: z.boolean().optional().describe('A mail asks the user to verify the address. Default: false.'),
    phone_verified: z.boolean().optional(),
    verify_phone_number: z.literal(false).optional().describe('Nothing is sent by SMS here.'),
    blocked: z.boolean().optional(),
    given_name: PROFILE.given_name.nullable().optional(),
    family_name: PROFILE.family_name.nullable().optional(),
    name: PROFILE.name.nullable().optional(),
    nickname: PROFILE.nickname.nullable().optional(),
    picture: PROFILE.picture.nullable().optional(),
    user_metadata: METADATA.nullable().optional().describe('Merged at its first level: null removes a property, `{}` all of them.'),
    app_metadata: METADATA.nullable().optional().describe('Merged like `user_metadata`.'),
  })
  .meta({ id: 'UserChange' });

export type CreateUserBody = z.output<typeof CREATE_USER_BODY>;
export type UpdateUserBody = z.output<typeof UPDATE_USER_BODY>;
