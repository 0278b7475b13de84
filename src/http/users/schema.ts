import { z } from 'zod';
import { DATE } from '../schema/common.ts';

const METADATA = z.record(z.string(), z.unknown());

/** A user (contract §4.5). Nothing is always there: `fields` leaves out what it does not name. */
export const USER = z
  .strictObject({
    user_id: z.string(),
    email: z.string(),
    email_verified: z.boolean(),
    username: z.string(),
    phone_number: z.string(),
    phone_verified: z.boolean(),
    given_name: z.string(),
    family_name: z.string(),
    name: z.string(),
    nickname: z.string(),
    picture: z.string(),
    identities: z.array(
      z.strictObject({
        connection: z.string(),
        user_id: z.string().describe('Without the provider.'),
        provider: z.string(),
        isSocial: z.literal(false),
      }),
    ),
    user_metadata: METADATA.describe('Left out when it is empty.'),
    app_metadata: METADATA.describe('Left out when it is empty.'),
    blocked: z.literal(true).describe('Left out unless an administrator has blocked the user.'),
    created_at: DATE,
    updated_at: DATE,
    last_login: DATE,
    last_ip: z.string(),
    logins_count: z.int(),
    last_password_reset: DATE,
  })
  .partial()
  .meta({ id: 'User' });
