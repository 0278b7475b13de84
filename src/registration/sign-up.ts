import { hashPassword } from '../passwords.ts';
import type { ClientStore } from '../store/clients.ts';
import { type ConnectionStore, isEnabledFor } from '../store/connections.ts';
import type { UserStore } from '../store/users.ts';
import type { CreateRefusal, NewUser, UserCreation } from './create-user.ts';
import type { Metadata, Profile, RequestFacts } from './event.ts';
import { findPasswordProblem, type PasswordProblem } from './password-rules.ts';
import type { UserMails } from './user-mails.ts';
import { findUsernameProblem, type UsernameProblem } from './username-rules.ts';

/** What a person gives to sign up, checked for form. */
export interface SignUpInput {
  /** Null: the first client. */
  clientId: string | null;
  /** Name of a database connection. */
  connection: string;
  /** In lower case, like the username. */
  email: string;
  username: string | null;
  phoneNumber: string | null;
  password: string;
  profile: Profile;
  userMetadata: Metadata;
  /** The whole body as it came, for `event.request.body`. */
  body: Record<string, unknown>;
  request: RequestFacts;
}

/** Why nobody was signed up. `exists-untold`: the user exists, and the tenant does not want that told. */
export type Refusal =
  | { kind: 'unknown-client' | 'unknown-connection' | 'signup-disabled' | 'exists-untold' }
  | UsernameProblem
  | PasswordProblem
  | CreateRefusal;

/** `userId`: without the provider, as sign-up answers it. */
export type SignUpOutcome = { outcome: 'created'; userId: string } | { outcome: 'refused'; refusal: Refusal };

export interface SignUpDeps {
  clients: Pick<ClientStore, 'find' | 'first'>;
  connections: Pick<ConnectionStore, 'findByName'>;
  users: Pick<UserStore, 'findTaken'>;
  userCreation: UserCreation;
  userMails: Pick<UserMails, 'writeVerifyEmail'>;
  /** Whether a sign-up is told that the user exists already. */
  tellsUserExists(): Promise<boolean>;
  /** Called when a mail was committed. */
  wakeSender(): void;
}

export type SignUp = (input: SignUpInput) => Promise<SignUpOutcome>;

/**
 * Signs a user up on a database connection: the fast refusals first, then the way that every new user takes. The mail that
 * asks to verify the address is written in the transaction that commits the user.
 *
 * Where the tenant does not want it told that a user exists, nobody looks before the Actions and the hash are done: their
 * time is spent either way. It stops at the answer, which is another one than that of a success, as on Auth0.
 */
export function createSignUp({ clients, connections, users, userCreation, userMails, tellsUserExists, wakeSender }: SignUpDeps): SignUp {
  return async (input) => {
    const client = input.clientId === null ? await clients.first() : await clients.find(input.clientId);
    if (client === null) return refused({ kind: 'unknown-client' });
    const connection = await connections.findByName(input.connection);
    if (connection === null || connection.strategy !== 'auth0' || !isEnabledFor(connection, client.id)) return refused({ kind: 'unknown-connection' });
    if (connection.options.disable_signup === true) return refused({ kind: 'signup-disabled' });
    const wrongUsername = findUsernameProblem(connection, input.username);
    if (wrongUsername !== null) return refused(wrongUsername);

    const user: NewUser = {
      ...input,
      source: 'signup',
      client,
      connection,
      hashPassword: () => hashPassword(input.password),
      alsoWrite: (tx, { userId }) => userMails.writeVerifyEmail(tx, { userId, email: input.email, clientId: client.id }),
    };
    const problem = findPasswordProblem(connection.options, input.password, input);
    if (problem !== null) {
      await userCreation.logRefusal(user, PASSWORD_PROBLEMS[problem.kind]);
      return refused(problem);
    }
    const tells = await tellsUserExists();
    const taken = tells ? await users.findTaken(connection.id, { email: input.email, username: input.username }) : null;
    if (taken !== null) {
      await userCreation.logRefusal(user, 'The user already exists.');
      return refused({ kind: 'user-exists', field: taken });
    }
    const result = await userCreation.create(user);
    if (result.outcome === 'refused') return !tells && result.refusal.kind === 'user-exists' ? refused({ kind: 'exists-untold' }) : result;
    wakeSender();
    return { outcome: 'created', userId: result.user.userId.slice('auth0|'.length) };
  };
}

/** For who operates this. */
const PASSWORD_PROBLEMS: Record<PasswordProblem['kind'], string> = {
  'weak-password': 'Password is too weak',
  'common-password': 'Password is too common',
  'personal-password': 'Password contains user information',
};

function refused(refusal: Refusal): SignUpOutcome {
  return { outcome: 'refused', refusal };
}
