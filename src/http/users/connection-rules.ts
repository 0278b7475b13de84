import { type ApiError, managementError } from '../../domain/api-error.ts';
import { findWeakness } from '../../passwords.ts';
import type { Connection } from '../../store/connections.ts';

/** What a connection's users are identified by. */
const IDENTIFIERS: Record<string, 'email' | 'phone_number'> = { auth0: 'email', email: 'email', sms: 'phone_number' };

/** The field without which there is no user of the connection. @throws {ApiError} 400 for a connection whose users live elsewhere. */
export function identifierOf({ name, strategy }: Connection): 'email' | 'phone_number' {
  const identifier = IDENTIFIERS[strategy];
  if (identifier !== undefined) return identifier;
  throw managementError(400, `The connection '${name}' does not support user creation through the API. It must either be a database or passwordless connection.`);
}

/** @throws {ApiError} 400 for a username where the connection has none. */
export function refuseUsername({ strategy, options }: Connection): void {
  if (strategy === 'auth0' && options.requires_username === true) return;
  throw managementError(400, 'Cannot set username for connection without requires_username');
}

/** @throws {ApiError} 400 for a password where the connection has none. */
export function refusePassword({ strategy }: Connection): void {
  if (strategy !== 'auth0') throw invalidBody('Cannot set password for a user of a passwordless connection');
}

/** What is wrong with a password by the policy of the connection; null when it is strong enough. */
export function weakPassword({ options }: Connection, password: string): ApiError | null {
  const weakness = findWeakness(options.passwordPolicy ?? 'good', password);
  return weakness === null ? null : managementError(400, 'PasswordStrengthError: Password is too weak');
}

/** In the words that a wrong body is refused with, for what its schema cannot say. */
export function invalidBody(problem: string): ApiError {
  return managementError(400, `Payload validation error: '${problem}'.`, 'invalid_body');
}

export function noSuchConnection(): ApiError {
  return managementError(400, 'The connection does not exist.', 'inexistent_connection');
}
