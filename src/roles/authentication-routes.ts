import type { Request } from 'express';
import type { Auth } from '../http/auth.ts';
import { changePasswordRoutes } from '../http/authentication/change-password-routes.ts';
import { discoveryRoutes } from '../http/authentication/discovery-routes.ts';
import { PASSWORD, PASSWORD_REALM } from '../http/authentication/password.ts';
import { PASSWORDLESS_OTP } from '../http/authentication/passwordless-otp.ts';
import { passwordlessRoutes } from '../http/authentication/passwordless-routes.ts';
import { signUpRoutes } from '../http/authentication/signup-routes.ts';
import { tokenRoutes } from '../http/authentication/token-routes.ts';
import { createUserTokens } from '../http/authentication/user-tokens.ts';
import type { Route } from '../http/endpoint.ts';
import { issuerOf } from '../http/issuer.ts';
import { changePasswordPageRoutes } from '../http/pages/change-password-routes.ts';
import { messagesRoutes } from '../http/pages/messages-routes.ts';
import { verifyEmailRoutes } from '../http/pages/verify-email-routes.ts';
import type { FingerprintHeaders } from '../http/request-facts.ts';
import { ticketsRoutes } from '../http/tickets/tickets-routes.ts';
import { createAttackProtection } from '../registration/attack-protection.ts';
import { createChangePassword } from '../registration/change-password.ts';
import type { UserCreation } from '../registration/create-user.ts';
import { createPasswordLogin } from '../registration/password-login.ts';
import { createPasswordlessLogin } from '../registration/passwordless-login.ts';
import { createPasswordlessStart } from '../registration/passwordless-start.ts';
import { createSignUp } from '../registration/sign-up.ts';
import type { UserMails } from '../registration/user-mails.ts';
import { createVerifyEmail } from '../registration/verify-email.ts';
import type { ClientGrantStore } from '../store/client-grants.ts';
import type { ClientStore } from '../store/clients.ts';
import { createCodeStore } from '../store/codes.ts';
import type { ConnectionStore } from '../store/connections.ts';
import { createCounterStore } from '../store/counters.ts';
import type { Database } from '../store/database.ts';
import type { Keyring } from '../store/keyring.ts';
import type { JobStore } from '../store/jobs.ts';
import { createLoginStore } from '../store/logins.ts';
import { createMessageStore } from '../store/messages.ts';
import type { ResourceServerStore } from '../store/resource-servers.ts';
import type { SigningKeys } from '../store/signing-keys.ts';
import { readTenantSettings } from '../store/tenant-settings.ts';
import { createTicketStore } from '../store/tickets.ts';
import type { UserStore } from '../store/users.ts';

/** What sign-up, logins and their mails are made of. */
export interface AuthenticationDeps {
  database: Database;
  keyring: Keyring;
  auth: Auth;
  clients: ClientStore;
  connections: ConnectionStore;
  clientGrants: ClientGrantStore;
  resourceServers: ResourceServerStore;
  signingKeys: SigningKeys;
  users: UserStore;
  jobs: JobStore;
  userCreation: UserCreation;
  userMails: UserMails;
  fingerprintHeaders: FingerprintHeaders;
  wakeSender(): void;
  publicUrl: string | null;
}

/** The endpoints of Auth0's Authentication API, and the pages that its mails lead to. */
export function authenticationRoutes(deps: AuthenticationDeps): Route[] {
  const { database, keyring } = deps;
  const codes = createCodeStore({ database, keyring });
  const logins = createLoginStore({ database });
  const protection = createAttackProtection({ counters: createCounterStore({ database }), keyring });
  const tickets = createTicketStore({ database });
  const shared = { ...deps, codes, logins, protection, tickets };
  const changePassword = createChangePassword(shared);
  const issuer = (req: Request) => issuerOf(req, deps.publicUrl);

  return [
    ...signUpRoutes({ ...deps, signUp: createSignUp({ ...shared, tellsUserExists: async () => (await readTenantSettings(database.db)).tellsUserExists }) }),
    ...passwordlessRoutes({ ...deps, passwordlessStart: createPasswordlessStart(shared) }),
    ...tokenRoutes({
      ...deps,
      grants: deps.clientGrants,
      issuer,
      passwordLogin: createPasswordLogin(shared),
      passwordlessLogin: createPasswordlessLogin(shared),
      userTokens: createUserTokens({ ...deps, grants: deps.clientGrants }),
    }),
    ...discoveryRoutes({ issuer, grantTypes: ['client_credentials', PASSWORD, PASSWORD_REALM, PASSWORDLESS_OTP] }),
    ...changePasswordRoutes({ ...deps, changePassword }),
    ...changePasswordPageRoutes({ changePassword }),
    ...verifyEmailRoutes({ verifyEmail: createVerifyEmail(shared) }),
    ...ticketsRoutes(shared),
    ...messagesRoutes({ keyring, messages: createMessageStore({ database, keyring }) }),
  ];
}
