import type { Request } from 'express';
import { oauthError } from '../../domain/api-error.ts';
import { SCOPES } from '../../domain/scopes.ts';
import type { ClientGrantStore } from '../../store/client-grants.ts';
import { type ClientStore, MANAGEMENT_AUDIENCE } from '../../store/clients.ts';
import type { ResourceServer, ResourceServerStore } from '../../store/resource-servers.ts';
import { type Auth, isManagementAudience, TOKEN_SECONDS } from '../auth.ts';
import { authenticateClient, parameter, requireGrant } from './token-request.ts';

export interface ClientCredentialsDeps {
  auth: Auth;
  clients: Pick<ClientStore, 'authenticate'>;
  grants: Pick<ClientGrantStore, 'findFor'>;
  resourceServers: Pick<ResourceServerStore, 'find'>;
  /** With a slash at the end. */
  issuer(req: Request): string;
}

/** The grant `client_credentials` (contract §5.3): a token of the client's own, for the Management API or another API. */
export function createClientCredentials({ auth, clients, grants, resourceServers, issuer: issuerOf }: ClientCredentialsDeps) {
  return async (req: Request) => {
    const client = await authenticateClient(req, clients);
    requireGrant(client, 'client_credentials');
    const issuer = issuerOf(req);
    const audience = parameter(req, 'audience') ?? `${issuer}api/v2/`;
    const server = isManagementAudience(audience) ? null : await findServer(resourceServers, audience);

    const grant = await grants.findFor(client.id, server?.identifier ?? MANAGEMENT_AUDIENCE);
    if (grant === null) {
      const advice = 'You need to create a "client-grant" associated to this API. See: https://auth0.com/docs/api/v2#!/Client_Grants/post_client_grants';
      throw oauthError(403, 'access_denied', `Client is not authorized to access "${audience}". ${advice}`);
    }
    const offered: readonly string[] = server === null ? SCOPES : server.scopes.map(({ value }) => value);
    // What an API no longer has is no longer granted.
    const granted = grant.settings['allow_all_scopes'] === true ? [...offered] : grant.scope.filter((scope) => offered.includes(scope));
    const scopes = narrow(granted, parameter(req, 'scope'));
    const seconds = server?.settings.token_lifetime ?? TOKEN_SECONDS;
    return {
      access_token: await auth.issueToken({ clientId: client.id, scopes, audience, issuer, seconds }),
      ...(scopes.length === 0 ? {} : { scope: scopes.join(' ') }),
      expires_in: seconds,
      token_type: 'Bearer' as const,
    };
  };
}

/** The API of an audience. @throws {ApiError} 403 when there is none, or its tokens cannot be made here. */
export async function findServer(resourceServers: ClientCredentialsDeps['resourceServers'], audience: string): Promise<ResourceServer> {
  const server = await resourceServers.find(audience);
  if (server === null || server.identifier !== audience) throw oauthError(403, 'access_denied', `Service not found: ${audience}`);
  const algorithm = server.settings.signing_alg ?? 'RS256';
  if (algorithm === 'RS256') return server;
  throw oauthError(403, 'access_denied', `The tokens of ${audience} are to be signed with ${algorithm}, which Usher does not do: set its signing_alg to RS256.`);
}

function narrow(granted: string[], requested: string | undefined): string[] {
  if (requested === undefined) return granted;
  const scopes = requested.split(' ').filter((scope) => scope !== '');
  const missing = scopes.filter((scope) => !granted.includes(scope));
  if (missing.length > 0) throw oauthError(403, 'access_denied', `Client has not been granted scopes: ${missing.join(', ')}`);
  return scopes;
}
