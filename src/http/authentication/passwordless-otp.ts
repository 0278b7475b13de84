import type { Request } from 'express';
import type { PasswordlessLogin } from '../../registration/passwordless-login.ts';
import type { ClientStore } from '../../store/clients.ts';
import type { ConnectionStore } from '../../store/connections.ts';
import type { FingerprintHeaders } from '../request-facts.ts';
import { bodyWithoutCredentials, loginClient, loginConnection, loginError, loginFacts, requiredParameter } from './login-request.ts';
import { parameter, requireGrant } from './token-request.ts';
import type { Tokens, UserTokens } from './user-tokens.ts';

/** The grant's name. */
export const PASSWORDLESS_OTP = 'http://auth0.com/oauth/grant-type/passwordless/otp';

export interface PasswordlessOtpDeps {
  clients: Pick<ClientStore, 'authenticate' | 'find'>;
  connections: Pick<ConnectionStore, 'findByName'>;
  passwordlessLogin: PasswordlessLogin;
  userTokens: UserTokens;
  issuer(req: Request): string;
  fingerprintHeaders: FingerprintHeaders;
}

/** The grant by which a code becomes tokens, and, the first time, a user; contract §5.3. */
export function createPasswordlessOtp(deps: PasswordlessOtpDeps) {
  return async (req: Request): Promise<Tokens> => {
    const client = await loginClient(req, deps.clients);
    requireGrant(client, PASSWORDLESS_OTP);
    const [username, code] = [requiredParameter(req, 'username'), requiredParameter(req, 'otp')];
    const connection = await loginConnection(requiredParameter(req, 'realm'), client, { ...deps, strategies: ['email', 'sms'] });
    const wanted = await deps.userTokens.wanted(client, { audience: parameter(req, 'audience'), scope: parameter(req, 'scope') });

    const isMail = connection.strategy === 'email';
    const result = await deps.passwordlessLogin({
      client,
      connection,
      recipient: isMail ? username.toLowerCase() : username,
      code,
      body: bodyWithoutCredentials(req),
      request: loginFacts(req, client, deps.fingerprintHeaders),
    });
    if (result.outcome === 'refused') throw loginError(result.refusal, `Wrong ${isMail ? 'email' : 'phone number'} or verification code.`);
    return await deps.userTokens.issue(result.user, wanted, { client, issuer: deps.issuer(req), grantType: PASSWORDLESS_OTP });
  };
}
