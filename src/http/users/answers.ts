import type { z } from 'zod';
import type { Metadata, Profile } from '../../registration/event.ts';
import type { StoredUser } from '../../store/users.ts';
import type { USER } from './schema.ts';

/** A user with all that there is of it; Auth0 leaves the rest out too. */
export function userAnswer(user: StoredUser): z.input<typeof USER> {
  const [provider, id] = splitUserId(user.id);
  const userMetadata = JSON.parse(user.user_metadata) as Metadata;
  const appMetadata = JSON.parse(user.app_metadata) as Metadata;
  return {
    created_at: dateOf(user.created_at),
    ...(user.email === null ? {} : { email: user.email, email_verified: user.email_verified === 1 }),
    ...(user.phone_number === null ? {} : { phone_number: user.phone_number, phone_verified: user.phone_verified === 1 }),
    ...(user.username === null ? {} : { username: user.username }),
    ...(JSON.parse(user.profile) as Profile),
    identities: [{ connection: user.connection_name, user_id: id, provider, isSocial: false }],
    updated_at: dateOf(user.updated_at),
    user_id: user.id,
    ...(Object.keys(userMetadata).length === 0 ? {} : { user_metadata: userMetadata }),
    ...(Object.keys(appMetadata).length === 0 ? {} : { app_metadata: appMetadata }),
    ...(user.blocked === 1 ? { blocked: true as const } : {}),
    ...(user.last_login === null ? {} : { last_login: dateOf(user.last_login), logins_count: user.logins_count }),
    ...(user.last_ip === null ? {} : { last_ip: user.last_ip }),
    ...(user.last_password_reset === null ? {} : { last_password_reset: dateOf(user.last_password_reset) }),
  };
}

/** `auth0|a|b` → `auth0` and `a|b`. */
function splitUserId(id: string): [string, string] {
  const bar = id.indexOf('|');
  return [id.slice(0, bar), id.slice(bar + 1)];
}

function dateOf(ms: number): string {
  return new Date(ms).toISOString();
}
