import type { Request } from 'express';
import { z } from 'zod';
import { type Route, route } from '../endpoint.ts';

const TEXTS = z.array(z.string());

const CONFIGURATION = z
  .strictObject({
    issuer: z.url(),
    token_endpoint: z.url(),
    jwks_uri: z.url(),
    grant_types_supported: TEXTS,
    response_types_supported: TEXTS,
    scopes_supported: TEXTS,
    subject_types_supported: TEXTS,
    claims_supported: TEXTS,
    id_token_signing_alg_values_supported: TEXTS,
    token_endpoint_auth_methods_supported: TEXTS,
  })
  .meta({ id: 'OpenIDConfiguration' });

/** What clients find out by themselves (OpenID Connect Discovery §3). There is no `/authorize` here, so none is named. */
export function discoveryRoutes({ issuer, grantTypes }: { issuer(req: Request): string; grantTypes: readonly string[] }): Route[] {
  return [
    route(
      {
        operationId: 'get_openid_configuration',
        method: 'get',
        path: '/.well-known/openid-configuration',
        summary: 'Where tokens come from and how they are signed',
        tag: 'authentication',
        scopes: null,
        returns: CONFIGURATION,
      },
      ({ req }) => {
        const base = issuer(req);
        return Promise.resolve({
          issuer: base,
          token_endpoint: `${base}oauth/token`,
          jwks_uri: `${base}.well-known/jwks.json`,
          grant_types_supported: [...grantTypes],
          response_types_supported: [],
          scopes_supported: ['openid', 'profile', 'email', 'phone'],
          subject_types_supported: ['public'],
          claims_supported: ['iss', 'sub', 'aud', 'exp', 'iat', 'name', 'nickname', 'given_name', 'family_name', 'picture', 'updated_at', 'email', 'email_verified', 'phone_number', 'phone_verified'],
          id_token_signing_alg_values_supported: ['RS256'],
          token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post', 'none'],
        });
      },
    ),
  ];
}
