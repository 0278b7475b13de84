import type { Auth } from '../http/auth.ts';
import { passwordlessRoutes } from '../http/authentication/passwordless-routes.ts';
import { signUpRoutes } from '../http/authentication/signup-routes.ts';
import { tokenRoutes } from '../http/authentication/token-routes.ts';
import { createUserTokens } from '../http/authentication/user-tokens.ts';
import type { Route } from '../http/endpoint.ts';
import { issuerOf } from '../http/issuer.ts';
import type { FingerprintHeaders } from '../http/request-facts.ts';
import { createAttackProtection } from '../registration/attack-protection.ts';
import type { UserCreation } from '../registration/create-user.ts';
import { createPasswordLogin } from '../registration/password-login.ts';
import { createPasswordlessLogin } from '../registration/passwordless-login.ts';
import { createPasswordlessStart } from '../registration/passwordless-start.ts';
import { createSignUp } from '../registration/sign-up.ts';
import { createUserMails } from '../registration/user-mails.ts';
import type { ClientGrantStore } from '../store/client-grants.ts';
import type { ClientStore } from '../store/clients.ts';
import { createCodeStore } from '../store/codes.ts';
import type { ConnectionStore } from '../store/connections.ts';
import { createCounterStore } from '../store/counters.ts';
import type { Database } from '../store/database.ts';
import type { Keyring } from '../store/keyring.ts';
import { createLoginStore } from '../store/logins.ts';
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
  userCreation: UserCreation;
  fingerprintHeaders: FingerprintHeaders;
  wakeSender(): void;
  origin(): string;
  publicUrl: string | null;
}

/** The endpoints of Auth0's Authentication API, and the pages that its mails lead to. */
export function authenticationRoutes(deps: AuthenticationDeps): Route[] {
  const { database, keyring } = deps;
  const codes = createCodeStore({ database, keyring });
  const logins = createLoginStore({ database });
  const protection = createAttackProtection({ counters: createCounterStore({ database }), keyring });
  const userMails = createUserMails({ keyring, tickets: createTicketStore({ database }), origin: deps.origin });
  const shared = { ...deps, codes, logins, protection, userMails };

  return [
    ...signUpRoutes({ ...deps, signUp: createSignUp({ ...shared, tellsUserExists: async () => (await readTenantSettings(database.db)).tellsUserExists }) }),
    ...passwordlessRoutes({ ...deps, passwordlessStart: createPasswordlessStart(shared) }),
    ...tokenRoutes({
      ...deps,
      grants: deps.clientGrants,
      issuer: (req) => issuerOf(req, deps.publicUrl),
      passwordLogin: createPasswordLogin(shared),
      passwordlessLogin: createPasswordlessLogin(shared),
      userTokens: createUserTokens({ ...deps, grants: deps.clientGrants }),
    }),
  ];
}
