import { isIP } from 'node:net';
import type { Request } from 'express';
import { type ApiError, oauthError } from '../../domain/api-error.ts';
import type { RequestFacts } from '../../registration/event.ts';
import type { LoginRefusal } from '../../registration/passwordless-login.ts';
import type { Client, ClientStore } from '../../store/clients.ts';
import { type Connection, type ConnectionStore, isEnabledFor } from '../../store/connections.ts';
import { type FingerprintHeaders, requestFacts } from '../request-facts.ts';
import { authenticateClient, basicCredentials, parameter } from './token-request.ts';

/** @throws {ApiError} 400 */
export function requiredParameter(req: Request, name: string): string {
  const value = parameter(req, name);
  if (value === undefined) throw oauthError(400, 'invalid_request', `Missing required parameter: ${name}`);
  return value;
}

/**
 * The client with which somebody logs in. It shows its secret, unless it is one that cannot keep any
 * (`token_endpoint_auth_method: none`).
 *
 * @throws {ApiError} 401 `invalid_client`
 */
export async function loginClient(req: Request, clients: Pick<ClientStore, 'authenticate' | 'find'>): Promise<Client> {
  const id = parameter(req, 'client_id');
  const showsSecret = basicCredentials(req.headers.authorization) !== null || parameter(req, 'client_secret') !== undefined;
  const client = showsSecret || id === undefined ? null : await clients.find(id);
  return client?.settings.token_endpoint_auth_method === 'none' ? client : await authenticateClient(req, clients);
}

/** @throws {ApiError} when there is no connection of this name and one of these strategies for the client. */
export async function loginConnection(name: string, client: Client, { connections, strategies }: { connections: Pick<ConnectionStore, 'findByName'>; strategies: string[] }): Promise<Connection> {
  const connection = await connections.findByName(name);
  if (connection === null || !strategies.includes(connection.strategy)) throw oauthError(400, 'invalid_request', `Unknown or invalid realm: ${name}`);
  if (!isEnabledFor(connection, client.id)) throw oauthError(403, 'access_denied', 'The connection is not enabled for this client.');
  return connection;
}

/**
 * Who logs in, from where. For whom a server acts, Auth0 believes it in `auth0-forwarded-for`, if its client has shown a
 * secret and is set so; what is no address is not believed, as each one would begin a count of failures of its own.
 */
export function loginFacts(req: Request, { settings }: Client, headers: FingerprintHeaders): RequestFacts {
  const facts = requestFacts(req, headers);
  const isTrusted = settings['is_token_endpoint_ip_header_trusted'] === true && settings.token_endpoint_auth_method !== 'none';
  const address = isTrusted ? (req.get('auth0-forwarded-for') ?? '') : '';
  return isIP(address) === 0 ? facts : { ...facts, ip: address };
}

/** The body as Actions may see it: without what proves who somebody is. */
export function bodyWithoutCredentials(req: Request): Record<string, unknown> {
  const { password: _password, otp: _otp, client_secret: _secret, client_assertion: _assertion, ...body } = req.body as Record<string, unknown>;
  return body;
}

/** The refusal of a login as an answer; texts: those that Auth0's own clients look for. @param wrong when the credentials are wrong. */
export function loginError(refusal: LoginRefusal, wrong: string): ApiError {
  switch (refusal.kind) {
    case 'wrong-credentials':
      return oauthError(403, 'invalid_grant', wrong);
    case 'user-blocked':
      return oauthError(403, 'unauthorized', 'user is blocked');
    case 'too-many-attempts':
      return oauthError(429, 'too_many_attempts', 'Your account has been blocked after multiple consecutive login attempts.');
    case 'signup-disabled':
      return oauthError(403, 'access_denied', 'Public signup is disabled');
    case 'denied':
      return oauthError(403, 'access_denied', refusal.userMessage);
    default:
      return oauthError(403, 'access_denied', 'The sign-up could not be completed. Please try again later.');
  }
}
