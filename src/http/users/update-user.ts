import { managementError } from '../../domain/api-error.ts';
import { LIMITS } from '../../domain/limits.ts';
import { hashPassword } from '../../passwords.ts';
import type { Metadata, Profile } from '../../registration/event.ts';
import type { PasswordOwner } from '../../registration/password-rules.ts';
import type { UserMails } from '../../registration/user-mails.ts';
import type { Connection, ConnectionStore } from '../../store/connections.ts';
import type { StoredUser, UserChange, UserStore } from '../../store/users.ts';
import { PROFILE_FIELDS } from '../schema/user.ts';
import { badPassword, identifierOf, invalidBody, refusePassword, refuseUsername } from './connection-rules.ts';
import type { UpdateUserBody } from './requests.ts';

export interface UpdateUserDeps {
  connections: Pick<ConnectionStore, 'findByName'>;
  users: Pick<UserStore, 'find' | 'update'>;
  userMails: Pick<UserMails, 'writeVerifyEmail' | 'endChangePasswordLinks'>;
  /** Called when a mail was committed. */
  wakeSender(): void;
}

/**
 * Changes a user by the Management API. A new address or number is one that is not verified, unless the body says so.
 *
 * @throws {ApiError} 404; 400 for what Auth0 and the connection refuse.
 */
export async function updateUser({ connections, users, userMails, wakeSender }: UpdateUserDeps, id: string, body: UpdateUserBody): Promise<StoredUser> {
  refuseTogether(body);
  const user = await users.find(id);
  if (body.connection !== undefined && body.connection !== user.connection_name) {
    throw managementError(400, `The user has no identity in the connection '${body.connection}'.`, 'invalid_body');
  }
  const connection = await connections.findByName(user.connection_name);
  if (connection === null) throw new Error(`the connection of user ${id} is gone`);
  refuseByConnection(connection, body, user);
  const passwordHash = body.password === undefined ? undefined : await hashPassword(body.password);
  const updated = await users.update(id, (before) => changeOf(before, body, passwordHash), async (tx, { email, email_verified: isVerified }) => {
    if (passwordHash !== undefined || email !== user.email) await userMails.endChangePasswordLinks(tx, id);
    if (body.verify_email !== true || email === null || isVerified === 1) return;
    await userMails.writeVerifyEmail(tx, { userId: id, email, clientId: body.client_id ?? null });
  });
  if (body.verify_email === true) wakeSender();
  return updated;
}

/** Seen in the answers of Auth0, as clients repeat them; in this order in the message. */
const NOT_TOGETHER = [
  ['password', 'email'],
  ['password', 'email_verified'],
  ['username', 'password'],
  ['username', 'email'],
  ['username', 'email_verified'],
] as const;

function refuseTogether(body: UpdateUserBody): void {
  const both = NOT_TOGETHER.find((fields) => fields.every((field) => body[field] !== undefined));
  if (both !== undefined) throw managementError(400, `Cannot update ${both[0]} and ${both[1]} simultaneously`, 'invalid_body');
}

function refuseByConnection(connection: Connection, body: UpdateUserBody, user: StoredUser): void {
  if (body[identifierOf(connection)] === null) throw invalidBody(`${identifierOf(connection)} identifies the user and cannot be removed`);
  if (body.username !== undefined) refuseUsername(connection, body.username);
  if (body.password !== undefined) {
    refusePassword(connection);
    const problem = badPassword(connection, body.password, ownerOf(user));
    if (problem !== null) throw problem;
  }
  if (body.email_verified !== undefined && connection.strategy === 'sms') throw managementError(400, 'Cannot update email_verified for this user', 'invalid_body');
}

function ownerOf({ email, username, profile, user_metadata: userMetadata }: StoredUser): PasswordOwner {
  return { email, username, profile: JSON.parse(profile) as Profile, userMetadata: JSON.parse(userMetadata) as Metadata };
}

function changeOf(before: StoredUser, body: UpdateUserBody, passwordHash: string | undefined): UserChange {
  const now = Date.now();
  const email = body.email === undefined ? before.email : body.email;
  const phoneNumber = body.phone_number === undefined ? before.phone_number : body.phone_number;
  return {
    email,
    email_verified: flag(body.email_verified, email === before.email ? before.email_verified : 0),
    phone_number: phoneNumber,
    phone_verified: flag(body.phone_verified, phoneNumber === before.phone_number ? before.phone_verified : 0),
    ...(body.username === undefined ? {} : { username: body.username }),
    blocked: flag(body.blocked, before.blocked),
    profile: changedProfile(before.profile, body),
    user_metadata: mergedMetadata('user_metadata', before.user_metadata, body.user_metadata),
    app_metadata: mergedMetadata('app_metadata', before.app_metadata, body.app_metadata),
    ...(passwordHash === undefined ? {} : { password_hash: passwordHash, last_password_reset: now }),
    updated_at: now,
  };
}

function flag(value: boolean | undefined, otherwise: 0 | 1): 0 | 1 {
  return value === undefined ? otherwise : value ? 1 : 0;
}

function changedProfile(before: string, body: UpdateUserBody): string {
  const profile = JSON.parse(before) as Profile;
  for (const field of PROFILE_FIELDS) {
    const value = body[field];
    if (value === null) delete profile[field];
    else if (value !== undefined) profile[field] = value;
  }
  return JSON.stringify(profile);
}

/** Auth0's page "Manage Metadata with the Management API": merged at the first level, null removes, `{}` removes all. */
function mergedMetadata(name: 'user_metadata' | 'app_metadata', before: string, change: Metadata | null | undefined): string {
  if (change === undefined) return before;
  if (change === null || Object.keys(change).length === 0) return '{}';
  // A map, and the object made from it, take a key like `__proto__` for a name and nothing more.
  const merged = new Map(Object.entries(JSON.parse(before) as Metadata));
  for (const [key, value] of Object.entries(change)) {
    if (value === null) merged.delete(key);
    else merged.set(key, value);
  }
  const metadata = JSON.stringify(Object.fromEntries(merged));
  if (Buffer.byteLength(metadata) > LIMITS.userMetadataBytes) throw invalidBody(`${name} would be larger than ${LIMITS.userMetadataBytes / 1024} KiB`);
  return metadata;
}
