import type { Request } from 'express';
import { z } from 'zod';
import type { SigningKeys } from '../../store/signing-keys.ts';
import { oauthError } from '../../domain/api-error.ts';
import { type Route, route } from '../endpoint.ts';
import { type ClientCredentialsDeps, createClientCredentials } from './client-credentials.ts';
import { createPasswordGrant, PASSWORD, PASSWORD_REALM, type PasswordGrantDeps } from './password.ts';
import { createPasswordlessOtp, PASSWORDLESS_OTP, type PasswordlessOtpDeps } from './passwordless-otp.ts';
import { parameter } from './token-request.ts';

export type TokenRoutesDeps = ClientCredentialsDeps & PasswordGrantDeps & PasswordlessOtpDeps & { signingKeys: Pick<SigningKeys, 'jwks'> };

/** Every parameter is looked at by the grant that takes it, in the words of RFC 6749. */
const TOKEN_REQUEST = z.looseObject({
  grant_type: z.string().nullish(),
  client_id: z.string().nullish(),
  client_secret: z.string().nullish(),
  audience: z.string().nullish(),
  scope: z.string().nullish(),
  username: z.string().nullish(),
  password: z.string().nullish(),
  otp: z.string().nullish(),
  realm: z.string().nullish().describe('Name of a connection.'),
});

const TOKENS = z
  .strictObject({ access_token: z.string(), id_token: z.string().optional(), scope: z.string().optional(), expires_in: z.int(), token_type: z.literal('Bearer') })
  .meta({ id: 'Tokens' });

/** Tokens and the keys that sign them; contract §5.3. */
export function tokenRoutes(deps: TokenRoutesDeps): Route[] {
  const { signingKeys } = deps;
  const clientCredentials = createClientCredentials(deps);
  const password = createPasswordGrant(deps);
  const grants = new Map<string, (req: Request) => Promise<z.input<typeof TOKENS>>>([
    ['client_credentials', clientCredentials],
    [PASSWORD, (req) => password(req, PASSWORD)],
    [PASSWORD_REALM, (req) => password(req, PASSWORD_REALM)],
    [PASSWORDLESS_OTP, createPasswordlessOtp(deps)],
  ]);
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
        const grant = grants.get(grantType);
        if (grant === undefined) throw oauthError(400, 'unsupported_grant_type', `Unsupported grant type: ${grantType}`);

        const tokens = await grant(req);
        res.set({ 'cache-control': 'no-store', pragma: 'no-cache' });
        return tokens;
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
