import { type ApiError, managementError } from '../../domain/api-error.ts';
import { findPasswordProblem, type PasswordOwner, type PasswordProblem } from '../../registration/password-rules.ts';
import { findUsernameProblem } from '../../registration/username-rules.ts';
import type { Connection } from '../../store/connections.ts';

/** What a connection's users are identified by. */
const IDENTIFIERS: Record<string, 'email' | 'phone_number'> = { auth0: 'email', email: 'email', sms: 'phone_number' };

/** The field without which there is no user of the connection. @throws {ApiError} 400 for a connection whose users live elsewhere. */
export function identifierOf({ name, strategy }: Connection): 'email' | 'phone_number' {
  const identifier = IDENTIFIERS[strategy];
  if (identifier !== undefined) return identifier;
  throw managementError(400, `The connection '${name}' does not support user creation through the API. It must either be a database or passwordless connection.`);
}

/** @throws {ApiError} 400 for a username that the connection does not take, and for none where it asks for one. */
export function refuseUsername(connection: Connection, username: string | null): void {
  if (username !== null && !(connection.strategy === 'auth0' && connection.options.requires_username === true)) {
    throw managementError(400, 'Cannot set username for connection without requires_username');
  }
  const problem = findUsernameProblem(connection, username);
  if (problem === null) return;
  if (problem.kind === 'username-missing') throw invalidBody('Missing required property: username');
  throw invalidBody(`The username must have ${problem.min} to ${problem.max} characters`);
}

/** @throws {ApiError} 400 for a password where the connection has none. */
export function refusePassword({ strategy }: Connection): void {
  if (strategy !== 'auth0') throw invalidBody('Cannot set password for a user of a passwordless connection');
}

/** Auth0's names and words. */
const PASSWORD_PROBLEMS: Record<PasswordProblem['kind'], string> = {
  'weak-password': 'PasswordStrengthError: Password is too weak',
  'common-password': 'PasswordDictionaryError: Password is too common',
  'personal-password': 'PasswordNoUserInfoError: Password contains user information',
};

/** Why the connection does not take a password; null when it does. */
export function badPassword({ options }: Connection, password: string, owner: PasswordOwner): ApiError | null {
  const problem = findPasswordProblem(options, password, owner);
  return problem === null ? null : managementError(400, PASSWORD_PROBLEMS[problem.kind]);
}

/** In the words that a wrong body is refused with, for what its schema cannot say. */
export function invalidBody(problem: string): ApiError {
  return managementError(400, `Payload validation error: '${problem}'.`, 'invalid_body');
}

export function noSuchConnection(): ApiError {
  return managementError(400, 'The connection does not exist.', 'inexistent_connection');
}
