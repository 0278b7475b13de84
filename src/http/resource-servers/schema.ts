import { z } from 'zod';
import { isManagementAudience } from '../auth.ts';
import { listQuery } from '../paging.ts';
import { FLAG } from '../schema/common.ts';

const SCOPES = z.array(z.strictObject({ value: z.string().min(1).max(280), description: z.string().max(500).optional() })).max(1000);
const ANYTHING = z.record(z.string(), z.unknown()).nullish();
const SECONDS = z.int().min(0).max(2_592_000).nullish();

/** Of these, `token_lifetime` and `signing_alg` have an effect here; the others are kept as they came. */
const KEPT = {
  signing_alg: z.enum(['HS256', 'RS256', 'RS512', 'PS256']).nullish().describe('Usher issues tokens for RS256 only.'),
  allow_offline_access: z.boolean().nullish(),
  allow_online_access: z.boolean().nullish(),
  allow_online_access_with_ephemeral_sessions: z.boolean().nullish(),
  token_lifetime: z.int().min(1).max(2_592_000).nullish().describe('Seconds.'),
  token_lifetime_for_web: SECONDS,
  token_lifetime_for_anonymous_access_tokens: SECONDS,
  token_dialect: z.enum(['access_token', 'access_token_authz', 'rfc9068_profile', 'rfc9068_profile_authz']).nullish(),
  skip_consent_for_verifiable_first_party_clients: z.boolean().nullish(),
  enforce_policies: z.boolean().nullish(),
  token_encryption: ANYTHING,
  consent_policy: z.string().max(255).nullish(),
  authorization_details: z.array(z.unknown()).max(100).nullish(),
  proof_of_possession: ANYTHING,
  subject_type_authorization: ANYTHING,
  authorization_policy: ANYTHING,
};

const NAME = z.string().min(1).max(200).regex(/^[^<>]*$/);

export const CREATE_RESOURCE_SERVER = z.strictObject({
  identifier: z
    .string()
    .min(1)
    .max(600)
    .refine((identifier) => !isManagementAudience(identifier), 'The identifier is the one of the Management API'),
  name: NAME.optional(),
  scopes: SCOPES.nullish(),
  ...KEPT,
});

export const UPDATE_RESOURCE_SERVER = z.strictObject({ name: NAME.optional(), scopes: SCOPES.nullish(), ...KEPT });

export const LIST_RESOURCE_SERVERS_QUERY = listQuery(50).extend({
  identifiers: z.union([z.string().max(600), z.array(z.string().max(600)).max(10)]).optional().describe('May be given several times.'),
  include_fields: FLAG.optional(),
});

export const GET_RESOURCE_SERVER_QUERY = z.strictObject({ include_fields: FLAG.optional() });

/** By its id, or by its identifier in the form of a URL's part. */
export const KEY_PATH = z.strictObject({ id: z.string().min(1).max(600) });

export const RESOURCE_SERVER = z
  .strictObject({
    id: z.string(),
    name: z.string(),
    identifier: z.string(),
    is_system: z.literal(true).optional().describe('The Management API itself.'),
    scopes: SCOPES.optional(),
    ...KEPT,
  })
  .meta({ id: 'ResourceServer' });
