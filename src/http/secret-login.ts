import type { ClientGrantStore } from '../store/client-grants.ts';
import { type ClientStore, MANAGEMENT_AUDIENCE } from '../store/clients.ts';
import type { SecretLogin } from './auth.ts';

/** Lets clients in by their secret that could get a token of the Management API with it. */
export function createSecretLogin(deps: { clients: Pick<ClientStore, 'authenticate'>; clientGrants: Pick<ClientGrantStore, 'findFor'> }): SecretLogin {
  return async (id, secret) => {
    const client = await deps.clients.authenticate(id, secret);
    if (client === null || !client.grantTypes.includes('client_credentials')) return null;
    const grant = await deps.clientGrants.findFor(client.id, MANAGEMENT_AUDIENCE);
    return { clientId: client.id, scopes: grant?.scope ?? [] };
  };
}
