import type { Request } from 'express';
import type { PasswordLogin } from '../../registration/password-login.ts';
import type { ClientStore } from '../../store/clients.ts';
import { type ConnectionStore, DEFAULT_CONNECTION } from '../../store/connections.ts';
import type { FingerprintHeaders } from '../request-facts.ts';
import { loginClient, loginConnection, loginError, loginFacts, requiredParameter } from './login-request.ts';
import { parameter, requireGrant } from './token-request.ts';
import type { Tokens, UserTokens } from './user-tokens.ts';

/** The grants' names. */
export const PASSWORD = 'password';
export const PASSWORD_REALM = 'http://auth0.com/oauth/grant-type/password-realm';

export interface PasswordGrantDeps {
  clients: Pick<ClientStore, 'authenticate' | 'find'>;
  connections: Pick<ConnectionStore, 'findByName'>;
  passwordLogin: PasswordLogin;
  userTokens: UserTokens;
  issuer(req: Request): string;
  fingerprintHeaders: FingerprintHeaders;
}

/**
 * The grants by which a password becomes tokens; contract §5.3. `password-realm` names its connection, `password` may, and
 * means the one that is there from the start otherwise.
 */
export function createPasswordGrant(deps: PasswordGrantDeps) {
  return async (req: Request, grantType: typeof PASSWORD | typeof PASSWORD_REALM): Promise<Tokens> => {
    const client = await loginClient(req, deps.clients);
    requireGrant(client, grantType);
    const [username, password] = [requiredParameter(req, 'username'), requiredParameter(req, 'password')];
    const realm = grantType === PASSWORD_REALM ? requiredParameter(req, 'realm') : (parameter(req, 'realm') ?? DEFAULT_CONNECTION);
    const connection = await loginConnection(realm, client, { ...deps, strategies: ['auth0'] });
    const wanted = await deps.userTokens.wanted(client, { audience: parameter(req, 'audience'), scope: parameter(req, 'scope') });

    const request = loginFacts(req, client, deps.fingerprintHeaders);
    const result = await deps.passwordLogin({ client, connection, username: username.toLowerCase(), password, request });
    if (result.outcome === 'refused') throw loginError(result.refusal, 'Wrong email or password.');
    return await deps.userTokens.issue(result.user, wanted, { client, issuer: deps.issuer(req), grantType: 'password' });
  };
}
