import { z } from 'zod';
import { DATE } from '../schema/common.ts';

const NAME = z.string().min(1).max(255);
/** Longer than any id of a provider that is known to us. */
const USER_ID = z.string().min(1).max(1024);
const TEXT = z.string().max(2048).optional();
const ANY_DATE = z.iso.datetime({ offset: true }).optional();
const METADATA = z.record(z.string(), z.unknown()).optional();

/** Properties of a user that Actions rely on; whatever else it has reaches them too. */
const USER = z.looseObject({
  user_id: USER_ID,
  email: TEXT,
  email_verified: z.boolean().optional(),
  username: TEXT,
  phone_number: TEXT,
  phone_verified: z.boolean().optional(),
  name: TEXT,
  given_name: TEXT,
  family_name: TEXT,
  nickname: TEXT,
  picture: TEXT,
  app_metadata: METADATA,
  user_metadata: METADATA,
  created_at: ANY_DATE,
  updated_at: ANY_DATE,
});

/** Contract §1.3. Open, as Auth0's types are; what must be there is what a registration cannot be without. */
const EVENT = z
  .looseObject({
    connection: z.looseObject({ id: NAME, name: NAME, strategy: NAME, metadata: METADATA }),
    user: USER,
    request: z.looseObject({ ip: TEXT, hostname: TEXT, method: TEXT, user_agent: TEXT, language: TEXT, geoip: z.record(z.string(), z.unknown()).optional() }).optional(),
    tenant: z.looseObject({ id: NAME }).optional(),
  })
  .meta({ id: 'PostUserRegistrationEvent' });

export const HAND_IN_BODY = z.strictObject({ event: EVENT.describe("The `event` of Auth0's post-user-registration trigger. `secrets` and `usher` in it are dropped.") });

export const IDEMPOTENCY_HEADERS = z.object({
  'idempotency-key': z.string().regex(/^[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?$/).describe('The same for each try to hand in the same registration, such as the id of its user.'),
});

export const ACCEPTED = z
  .strictObject({
    id: z.string().describe('Of the registration and of its execution: `GET /api/v2/actions/executions/{id}`.'),
    status: z.literal('accepted'),
    created_at: DATE,
  })
  .meta({ id: 'AcceptedRegistration' });

/** An identity of a user at Auth0; the first one is that with which it was created. */
const IDENTITY = z.looseObject({ connection: NAME, provider: NAME });

const GEO = z.looseObject({
  city_name: TEXT,
  continent_code: TEXT,
  country_code: TEXT,
  country_name: TEXT,
  latitude: z.number().optional(),
  longitude: z.number().optional(),
  subdivision_code: TEXT,
  subdivision_name: TEXT,
  time_zone: TEXT,
});

const CONTEXT = z.looseObject({
  connection: z.looseObject({ id: NAME, name: NAME, strategy: NAME }).optional(),
  request: z.looseObject({ geo: GEO.optional(), hostname: TEXT, ip: TEXT, method: TEXT, user_agent: TEXT }).optional(),
});

/**
 * What an Event Stream of Auth0 sends to a webhook: a CloudEvent. Source: Auth0's event catalogue, and the types
 * `EventStreamCloudEventUserCreated…` of npm `auth0` 7.
 */
export const USER_CREATED = z
  .looseObject({
    id: z.string().regex(/^[\x21-\x7e]{1,255}$/),
    type: z.literal('user.created'),
    a0tenant: z.string().max(255).optional(),
    a0purpose: z.string().max(255).optional(),
    data: z.looseObject({ object: USER.extend({ identities: z.array(IDENTITY).min(1) }), context: CONTEXT.optional() }),
  })
  .meta({ id: 'Auth0UserCreated' });

/** Events of other types, which a stream may send too. */
const OTHER = z.looseObject({ id: z.string().max(255), type: z.string().max(255).regex(/^(?!user\.created$)/) });

export const AUTH0_EVENT_BODY = z.union([USER_CREATED, OTHER]);

export type UserCreated = z.output<typeof USER_CREATED>;
