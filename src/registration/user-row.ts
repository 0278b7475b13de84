import type { NewRow } from '../store/schema.ts';
import type { NewUserFacts } from './event.ts';

/** Somebody who becomes a user now. */
export interface UserRowFacts extends NewUserFacts {
  /** With the provider: `auth0|…`. */
  userId: string;
  connectionId: string;
  emailVerified?: boolean | undefined;
  phoneVerified?: boolean | undefined;
  blocked?: boolean | undefined;
  passwordHash: string | null;
  createdAt: number;
}

/** The row of a new user. */
export function userRow(user: UserRowFacts): NewRow<'user_account'> {
  return {
    id: user.userId,
    connection_id: user.connectionId,
    email: user.email,
    email_verified: flag(user.emailVerified),
    username: user.username,
    phone_number: user.phoneNumber,
    phone_verified: flag(user.phoneVerified),
    profile: JSON.stringify(user.profile),
    user_metadata: JSON.stringify(user.userMetadata),
    app_metadata: JSON.stringify(user.appMetadata),
    password_hash: user.passwordHash,
    last_password_reset: null,
    blocked: flag(user.blocked),
    created_at: user.createdAt,
    updated_at: user.createdAt,
  };
}

/** A boolean as the store keeps it. @default false */
export function flag(value = false): 0 | 1 {
  return value ? 1 : 0;
}
