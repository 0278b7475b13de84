import type { Request } from 'express';
import type { Client, ClientStore } from '../../store/clients.ts';
import { ApiError, oauthError } from '../../domain/api-error.ts';

/** A parameter of the body; an empty one counts as left out (RFC 6749 §3.2). */
export function parameter(req: Request, name: string): string | undefined {
  const body: unknown = req.body;
  if (typeof body !== 'object' || body === null || !Object.hasOwn(body, name)) return undefined;
  const value = (body as Record<string, unknown>)[name];
  if (typeof value === 'string') return value === '' ? undefined : value;
  if (value === null) return undefined;
  throw oauthError(400, 'invalid_request', `Invalid parameter: ${name} must be one string`);
}

/**
 * The client whose id and secret the request gives, by HTTP Basic or in its body.
 *
 * @throws {ApiError} 401 `invalid_client` when either is wrong or missing.
 */
export async function authenticateClient(req: Request, clients: Pick<ClientStore, 'authenticate'>): Promise<Client> {
  const basic = basicCredentials(req.headers.authorization);
  const id = basic?.id ?? parameter(req, 'client_id');
  const secret = basic?.secret ?? parameter(req, 'client_secret');
  const isComplete = id !== undefined && secret !== undefined && !id.includes('\0');
  const client = isComplete ? await clients.authenticate(id, secret) : null;
  if (client !== null) return client;
  const { status, body } = oauthError(401, 'invalid_client', 'Client authentication failed: the client_id or the client_secret is wrong or missing');
  throw new ApiError(status, body, basic === null ? {} : { 'www-authenticate': 'Basic realm="usher"' });
}

/**
 * Refuses a client that may not use a grant.
 *
 * @throws {ApiError} 403 `unauthorized_client`, in Auth0's words.
 */
export function requireGrant({ grantTypes }: Pick<Client, 'grantTypes'>, grantType: string): void {
  if (!grantTypes.includes(grantType)) throw oauthError(403, 'unauthorized_client', `Grant type '${grantType}' not allowed for the client.`);
}

/** The id and secret of HTTP Basic, or null. RFC 6749 §2.3.1: both are form-encoded before they are joined. */
export function basicCredentials(header: string | undefined): { id: string; secret: string } | null {
  const encoded = /^Basic +(\S+)$/i.exec(header ?? '')?.[1];
  if (encoded === undefined) return null;
  const [id = '', ...secret] = Buffer.from(encoded, 'base64').toString().split(':');
  return { id: formDecoded(id), secret: formDecoded(secret.join(':')) };
}

function formDecoded(text: string): string {
  return new URLSearchParams(`value=${text.replaceAll('&', '%26')}`).get('value') ?? '';
}
