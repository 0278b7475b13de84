import { z } from 'zod';
import { CLIENT_ID, FIELDS_QUERY } from '../schema/common.ts';
import { listQuery } from '../paging.ts';

const NAME = z.string().regex(/^[a-zA-Z0-9]([a-zA-Z0-9-]{0,126}[a-zA-Z0-9])?$/).describe('Letters, digits and `-`; begins and ends with a letter or digit.');

const STRATEGY = z.string().regex(/^[a-z0-9_-]{1,64}$/).describe('`auth0` (database), `email` and `sms` work here; others are kept and do nothing.');

const ANYTHING = z.record(z.string(), z.unknown());

/** Auth0's bounds (its OpenAPI document); options that are not named here are kept as they came. */
const OPTIONS = z
  .looseObject({
    passwordPolicy: z.enum(['none', 'low', 'fair', 'good', 'excellent']).nullish(),
    password_complexity_options: z.looseObject({ min_length: z.int().min(1).max(128).optional() }).nullish(),
    requires_username: z.boolean().optional(),
    validation: z
      .looseObject({ username: z.looseObject({ min: z.int().min(1).max(128).optional(), max: z.int().min(1).max(128).optional() }).nullish() })
      .nullish(),
    disable_signup: z.boolean().optional(),
    brute_force_protection: z.boolean().optional(),
    totp: z.looseObject({ length: z.int().min(4).max(40).optional(), time_step: z.int().min(60).max(97_200).optional() }).optional(),
  })
  .meta({ id: 'ConnectionOptions' });

const MAX_METADATA = 10;

const METADATA = z
  .record(z.string().max(255), z.string().max(255))
  .refine((metadata) => Object.keys(metadata).length <= MAX_METADATA, `Too many properties, maximum ${MAX_METADATA}`)
  .meta({ maxProperties: MAX_METADATA });

const CLIENT_IDS = z.array(CLIENT_ID).max(1000);

const KEPT = {
  display_name: z.string().max(128).nullish(),
  is_domain_connection: z.boolean().nullish(),
  show_as_button: z.boolean().nullish(),
  realms: z.array(z.string().max(255)).max(100).nullish(),
  authentication: ANYTHING.nullish(),
  connected_accounts: ANYTHING.nullish(),
  cross_app_access_requesting_app: ANYTHING.nullish(),
  cross_app_access_resource_app: ANYTHING.nullish(),
};

export const CREATE_CONNECTION = z.strictObject({
  name: NAME,
  strategy: STRATEGY,
  options: OPTIONS.nullish(),
  metadata: METADATA.nullish(),
  enabled_clients: CLIENT_IDS.nullish(),
  ...KEPT,
});

export const UPDATE_CONNECTION = CREATE_CONNECTION.omit({ name: true, strategy: true });

export const LIST_CONNECTIONS_QUERY = listQuery(100).extend({
  strategy: z.union([STRATEGY, z.array(STRATEGY).max(100)]).optional().describe('May be given several times.'),
  name: z.string().max(128).optional(),
  ...FIELDS_QUERY,
});

export const CLIENTS_QUERY = z.strictObject({
  take: z.coerce.number().int().min(1).max(1000).default(50),
  from: CLIENT_ID.optional().describe('The `next` of the answer before.'),
});

export const CLIENTS_BODY = z.array(z.strictObject({ client_id: CLIENT_ID, status: z.boolean() })).min(1).max(50);

export const CLIENTS_ANSWER = z.strictObject({ clients: z.array(z.strictObject({ client_id: z.string() })), next: z.string().optional() });

/** `fields` leaves properties out. */
export const CONNECTION = z
  .strictObject({
    id: z.string(),
    name: z.string(),
    strategy: z.string(),
    options: z.looseObject({}),
    enabled_clients: z.array(z.string()),
    metadata: z.record(z.string(), z.string()),
    ...KEPT,
  })
  .partial()
  .meta({ id: 'Connection' });

export const DELETED = z.strictObject({ deleted_at: z.iso.datetime() });

export const EMAIL_QUERY = z.strictObject({ email: z.string().min(1).max(254) });

