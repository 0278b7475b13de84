import type { Request } from 'express';
import { z } from 'zod';
import type { Client, ClientStore } from '../../store/clients.ts';
import type { SigningKeys } from '../../store/signing-keys.ts';
import { ApiError, oauthError } from '../../domain/api-error.ts';
import { type Route, route } from '../endpoint.ts';
import { type Auth, isManagementAudience, TOKEN_SECONDS } from '../auth.ts';

export interface TokenRoutesDeps {
  auth: Auth;
  clients: Pick<ClientStore, 'authenticate'>;
  signingKeys: Pick<SigningKeys, 'jwks'>;
}

/** Every parameter is looked at by the grant that takes it, in the words of RFC 6749. */
const TOKEN_REQUEST = z.looseObject({
  grant_type: z.string().nullish(),
  client_id: z.string().nullish(),
  client_secret: z.string().nullish(),
  audience: z.string().nullish(),
  scope: z.string().nullish(),
});

const TOKENS = z
  .strictObject({ access_token: z.string(), id_token: z.string().optional(), scope: z.string().optional(), expires_in: z.int(), token_type: z.literal('Bearer') })
  .meta({ id: 'Tokens' });

/** Tokens and the keys that sign them; contract §5.3. */
export function tokenRoutes({ auth, clients, signingKeys }: TokenRoutesDeps): Route[] {
  return [
    route(
      {
        operationId: 'post_oauth_token',
        method: 'post',
        path: '/oauth/token',
        summary: 'Get a token',
        tag: 'authentication',
        scopes: null,
        body: TOKEN_REQUEST,
        bodyTypes: ['application/json', 'application/x-www-form-urlencoded'],
        returns: TOKENS,
        errors: [401, 403],
        errorShape: 'oauth',
      },
      async ({ req, res }) => {
        const grantType = parameter(req, 'grant_type');
        if (grantType === undefined) throw oauthError(400, 'invalid_request', 'Missing required parameter: grant_type');
        if (grantType !== 'client_credentials') throw oauthError(400, 'unsupported_grant_type', `Unsupported grant type: ${grantType}`);

        const client = await authenticate(req, clients);
        const issuer = `${req.protocol}://${req.host}/`;
        const audience = parameter(req, 'audience') ?? `${issuer}api/v2/`;
        if (!isManagementAudience(audience)) throw oauthError(403, 'access_denied', `Service not found: ${audience}`);
        const scopes = narrow(client, parameter(req, 'scope'));

        res.set({ 'cache-control': 'no-store', pragma: 'no-cache' });
        return {
          access_token: await auth.issueToken({ clientId: client.id, scopes, audience, issuer }),
          scope: scopes.join(' '),
          expires_in: TOKEN_SECONDS,
          token_type: 'Bearer' as const,
        };
      },
    ),
    route(
      {
        operationId: 'get_jwks',
        method: 'get',
        path: '/.well-known/jwks.json',
        summary: 'The public keys of our tokens',
        tag: 'authentication',
        scopes: null,
        returns: z.strictObject({ keys: z.array(z.looseObject({ kid: z.string(), kty: z.string() })) }),
      },
      async () => ({ keys: (await signingKeys.jwks()).keys as { kid: string; kty: string }[] }),
    ),
  ];
}

/** A parameter of the body; an empty one counts as left out (RFC 6749 §3.2). */
function parameter(req: Request, name: string): string | undefined {
  const body: unknown = req.body;
  if (typeof body !== 'object' || body === null || !Object.hasOwn(body, name)) return undefined;
  const value = (body as Record<string, unknown>)[name];
  if (typeof value === 'string') return value === '' ? undefined : value;
  if (value === null) return undefined;
  throw oauthError(400, 'invalid_request', `Invalid parameter: ${name} must be one string`);
}

/** Takes the client's id and secret from HTTP Basic or from the body. */
async function authenticate(req: Request, clients: Pick<ClientStore, 'authenticate'>): Promise<Client> {
  const basic = basicCredentials(req.headers.authorization);
  const id = basic?.id ?? parameter(req, 'client_id');
  const secret = basic?.secret ?? parameter(req, 'client_secret');
  const isComplete = id !== undefined && secret !== undefined && !id.includes('\0');
  const client = isComplete ? await clients.authenticate(id, secret) : null;
  if (client !== null) return client;
  const { status, body } = oauthError(401, 'invalid_client', 'Client authentication failed: the client_id or the client_secret is wrong or missing');
  throw new ApiError(status, body, basic === null ? {} : { 'www-authenticate': 'Basic realm="usher"' });
}

/** RFC 6749 §2.3.1: id and secret are form-encoded before they are joined. */
function basicCredentials(header: string | undefined): { id: string; secret: string } | null {
  const encoded = /^Basic +(\S+)$/i.exec(header ?? '')?.[1];
  if (encoded === undefined) return null;
  const [id = '', ...secret] = Buffer.from(encoded, 'base64').toString().split(':');
  return { id: formDecoded(id), secret: formDecoded(secret.join(':')) };
}

function formDecoded(text: string): string {
  return new URLSearchParams(`value=${text.replaceAll('&', '%26')}`).get('value') ?? '';
}

function narrow(client: Client, requested: string | undefined): string[] {
  if (requested === undefined) return client.scopes;
  const scopes = requested.split(' ').filter((scope) => scope !== '');
  const missing = scopes.filter((scope) => !client.scopes.includes(scope));
  if (missing.length > 0) throw oauthError(403, 'access_denied', `Client has not been granted scopes: ${missing.join(', ')}`);
  return scopes;
}
