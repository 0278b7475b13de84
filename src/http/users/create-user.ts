import { type ApiError, managementError } from '../../domain/api-error.ts';
import { hashPassword } from '../../passwords.ts';
import type { CreateRefusal, NewUser, UserCreation } from '../../registration/create-user.ts';
import type { RequestFacts } from '../../registration/event.ts';
import type { UserMails } from '../../registration/user-mails.ts';
import type { Client } from '../../store/clients.ts';
import type { Connection, ConnectionStore } from '../../store/connections.ts';
import type { UserStore } from '../../store/users.ts';
import { profileIn } from '../schema/user.ts';
import { badPassword, identifierOf, invalidBody, noSuchConnection, refusePassword, refuseUsername } from './connection-rules.ts';
import type { CreateUserBody } from './requests.ts';

export interface CreateUserDeps {
  connections: Pick<ConnectionStore, 'findByName'>;
  users: Pick<UserStore, 'findTaken'>;
  userCreation: UserCreation;
  userMails: Pick<UserMails, 'writeVerifyEmail'>;
  /** Called when a mail was committed. */
  wakeSender(): void;
}

/** Who asks for the new user, and how. */
export interface Asker {
  client: Client | null;
  /** The body as it came. */
  body: Record<string, unknown>;
  request: RequestFacts;
}

/**
 * Creates a user by the Management API: a registration with both triggers.
 *
 * @returns its id.
 * @throws {ApiError} 400 for what the connection refuses and what an Action denies, 409 when there is such a user.
 */
export async function createUser(deps: CreateUserDeps, body: CreateUserBody, asker: Asker): Promise<string> {
  const { connections, users, userCreation } = deps;
  const connection = await connections.findByName(body.connection);
  if (connection === null) throw noSuchConnection();
  const identifier = identifierOf(connection);
  refuseByConnection(connection, identifier, body);

  const { email } = body;
  const isToVerify = email !== undefined && (body.verify_email ?? (connection.strategy === 'auth0' && body.email_verified !== true));
  const user: NewUser = {
    ...toNewUser(connection, body, asker),
    ...(isToVerify ? { alsoWrite: (tx, { userId }) => deps.userMails.writeVerifyEmail(tx, { userId, email, clientId: null }) } : {}),
  };
  const phoneNumber = identifier === 'phone_number' ? user.phoneNumber : null;
  const problem =
    (body.password === undefined ? null : badPassword(connection, body.password, user)) ??
    ((await users.findTaken(connection.id, { email: user.email, username: user.username, phoneNumber })) === null ? null : userExists());
  if (problem !== null) {
    await userCreation.logRefusal(user, problem.message);
    throw problem;
  }
  const result = await userCreation.create(user);
  if (result.outcome === 'refused') throw asError(result.refusal);
  if (isToVerify) deps.wakeSender();
  return result.user.userId;
}

function refuseByConnection(connection: Connection, identifier: 'email' | 'phone_number', body: CreateUserBody): void {
  const required: (keyof CreateUserBody)[] = [identifier];
  if (connection.strategy === 'auth0') required.push('password');
  const missing = required.find((field) => body[field] === undefined);
  if (missing !== undefined) throw invalidBody(`Missing required property: ${missing}`);
  refuseUsername(connection, body.username ?? null);
  if (body.password !== undefined) refusePassword(connection);
}

function toNewUser(connection: Connection, body: CreateUserBody, asker: Asker): NewUser {
  const { password } = body;
  return {
    ...asker,
    source: 'management-api',
    connection,
    email: body.email ?? null,
    username: body.username ?? null,
    phoneNumber: body.phone_number ?? null,
    emailVerified: body.email_verified ?? false,
    phoneVerified: body.phone_verified ?? false,
    blocked: body.blocked ?? false,
    profile: profileIn(body),
    userMetadata: body.user_metadata ?? {},
    appMetadata: body.app_metadata ?? {},
    ...(body.user_id === undefined ? {} : { id: body.user_id }),
    hashPassword: () => (password === undefined ? Promise.resolve(null) : hashPassword(password)),
  };
}

function asError(refusal: CreateRefusal): ApiError {
  switch (refusal.kind) {
    case 'user-exists':
      return userExists();
    case 'denied':
      return managementError(400, refusal.userMessage || refusal.reason || 'The user was denied.', 'extensibility_error');
    default:
      return managementError(400, 'The user could not be created, because a pre-user-registration Action failed. See the tenant log.', 'extensibility_error');
  }
}

function userExists(): ApiError {
  return managementError(409, 'The user already exists.', 'auth0_idp_error');
}
