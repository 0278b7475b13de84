import { randomBytes } from 'node:crypto';
import { type JWTPayload, SignJWT } from 'jose';
import { oauthError } from '../../domain/api-error.ts';
import type { ClientGrantStore } from '../../store/client-grants.ts';
import type { Client } from '../../store/clients.ts';
import type { LoginUser } from '../../store/logins.ts';
import type { ResourceServer, ResourceServerStore } from '../../store/resource-servers.ts';
import type { SigningKeys } from '../../store/signing-keys.ts';
import { isManagementAudience, TOKEN_SECONDS } from '../auth.ts';
import { findServer } from './client-credentials.ts';

/** Auth0's default. */
const ID_TOKEN_SECONDS = 36_000;
/** Scopes of OpenID Connect: which claims of the user the id token has. */
const CLAIMS = ['openid', 'profile', 'email', 'phone', 'address'];

/** What a login asks for, looked at before anybody is logged in. */
export interface WantedTokens {
  /** Null: no API was named. */
  server: ResourceServer | null;
  scopes: string[];
}

export interface Tokens {
  access_token: string;
  id_token?: string;
  scope?: string;
  expires_in: number;
  token_type: 'Bearer';
}

/** The tokens of people who log in. */
export interface UserTokens {
  /**
   * What may be granted of the scopes asked for; others are left out, as on Auth0. Without a scope: all of the API's.
   *
   * @throws {ApiError} 403 `access_denied` for an API that is not there, or not for the people of this client.
   */
  wanted(client: Client, request: { audience: string | undefined; scope: string | undefined }): Promise<WantedTokens>;
  /** Signs the tokens of somebody who has logged in. @param grantType claim `gty` of the access token. */
  issue(user: LoginUser, wanted: WantedTokens, by: { client: Client; issuer: string; grantType: string }): Promise<Tokens>;
}

export function createUserTokens({ signingKeys, resourceServers, grants }: {
  signingKeys: Pick<SigningKeys, 'current'>;
  resourceServers: Pick<ResourceServerStore, 'find'>;
  grants: Pick<ClientGrantStore, 'list'>;
}): UserTokens {
  async function sign(claims: JWTPayload, { issuer, audience, user, seconds }: { issuer: string; audience: string; user: LoginUser; seconds: number }): Promise<string> {
    const { kid, privateKey } = await signingKeys.current();
    return await new SignJWT(claims)
      .setProtectedHeader({ alg: 'RS256', typ: 'JWT', kid })
      .setIssuer(issuer)
      .setSubject(user.id)
      .setAudience(audience)
      .setIssuedAt()
      .setExpirationTime(`${seconds} seconds`)
      .sign(privateKey);
  }

  /** The scopes of an API that people may have through this client. */
  async function grantable(client: Client, server: ResourceServer): Promise<string[]> {
    const { user } = (server.settings['subject_type_authorization'] ?? {}) as { user?: { policy?: string } };
    const all = server.scopes.map(({ value }) => value);
    if (user?.policy === undefined || user.policy === 'allow_all') return all;
    const { items } = await grants.list({ clientId: client.id, audience: server.identifier, subjectType: 'user' }, { offset: 0, limit: 1 });
    const grant = user.policy === 'require_client_grant' ? items[0] : undefined;
    if (grant === undefined) throw oauthError(403, 'access_denied', `Client is not authorized to access "${server.identifier}" on behalf of users.`);
    return grant.settings['allow_all_scopes'] === true ? all : all.filter((scope) => grant.scope.includes(scope));
  }

  return {
    async wanted(client, { audience, scope }) {
      // A person's token must never open the Management API.
      if (audience !== undefined && isManagementAudience(audience)) throw oauthError(403, 'access_denied', `Service not found: ${audience}`);
      const server = audience === undefined ? null : await findServer(resourceServers, audience);
      const ofApi = server === null ? [] : await grantable(client, server);
      const asked = scope?.split(' ') ?? ofApi;
      return { server, scopes: [...new Set(asked)].filter((each) => CLAIMS.includes(each) || ofApi.includes(each)) };
    },

    async issue(user, { server, scopes }, { client, issuer, grantType }) {
      const scope = scopes.join(' ');
      const seconds = server?.settings.token_lifetime ?? TOKEN_SECONDS;
      return {
        // Without an API there is nobody to show the token to: it only has the form that clients wait for.
        access_token: server === null
          ? randomBytes(24).toString('base64url')
          : await sign({ azp: client.id, scope, gty: grantType }, { issuer, audience: server.identifier, user, seconds }),
        ...(scopes.includes('openid') ? { id_token: await sign(claimsOf(user, scopes), { issuer, audience: client.id, user, seconds: ID_TOKEN_SECONDS }) } : {}),
        ...(scopes.length === 0 ? {} : { scope }),
        expires_in: seconds,
        token_type: 'Bearer',
      };
    },
  };
}

/** Contract: OpenID Connect Core §5.4, with Auth0's `nickname` and `updated_at` as ISO text. */
function claimsOf(user: LoginUser, scopes: string[]): JWTPayload {
  const profile = JSON.parse(user.profile) as Record<string, string>;
  return {
    ...(scopes.includes('profile') ? { ...profile, ...(user.username === null ? {} : { username: user.username }), updated_at: new Date(user.updated_at).toISOString() } : {}),
    ...(scopes.includes('email') && user.email !== null ? { email: user.email, email_verified: user.email_verified === 1 } : {}),
    ...(scopes.includes('phone') && user.phone_number !== null ? { phone_number: user.phone_number, phone_verified: user.phone_verified === 1 } : {}),
  };
}
