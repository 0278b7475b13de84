import { findWeakness, hashPassword, type WeakPassword } from '../passwords.ts';
import type { ClientStore } from '../store/clients.ts';
import type { ConnectionStore } from '../store/connections.ts';
import type { UserStore } from '../store/users.ts';
import type { CreateRefusal, NewUser, UserCreation } from './create-user.ts';
import type { Metadata, Profile, RequestFacts } from './event.ts';

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

/** Why nobody was signed up. */
export type Refusal =
  | { kind: 'unknown-client' }
  | { kind: 'unknown-connection' }
  | { kind: 'signup-disabled' }
  | { kind: 'weak-password'; weakness: WeakPassword }
  | CreateRefusal;

/** `userId`: without the provider, as sign-up answers it. */
export type SignUpOutcome = { outcome: 'created'; userId: string } | { outcome: 'refused'; refusal: Refusal };

export interface SignUpDeps {
  clients: Pick<ClientStore, 'find' | 'first'>;
  connections: Pick<ConnectionStore, 'findByName'>;
  users: Pick<UserStore, 'findTaken'>;
  userCreation: UserCreation;
}

export type SignUp = (input: SignUpInput) => Promise<SignUpOutcome>;

/** Signs a user up on a database connection: the fast refusals first, then the way that every new user takes. */
export function createSignUp({ clients, connections, users, userCreation }: SignUpDeps): SignUp {
  return async (input) => {
    const client = input.clientId === null ? await clients.first() : await clients.find(input.clientId);
    if (client === null) return refused({ kind: 'unknown-client' });
    const connection = await connections.findByName(input.connection);
    if (connection === null || connection.strategy !== 'auth0') return refused({ kind: 'unknown-connection' });
    if (connection.options.disable_signup === true) return refused({ kind: 'signup-disabled' });

    const user: NewUser = { ...input, source: 'signup', client, connection, hashPassword: () => hashPassword(input.password) };
    const weakness = findWeakness(connection.options.passwordPolicy ?? 'good', input.password);
    if (weakness !== null) {
      await userCreation.logRefusal(user, 'Password is too weak');
      return refused({ kind: 'weak-password', weakness });
    }
    const taken = await users.findTaken(connection.id, input);
    if (taken !== null) {
      await userCreation.logRefusal(user, 'The user already exists.');
      return refused({ kind: 'user-exists', field: taken });
    }
    const result = await userCreation.create(user);
    return result.outcome === 'refused' ? result : { outcome: 'created', userId: result.user.userId.slice('auth0|'.length) };
  };
}

function refused(refusal: Refusal): SignUpOutcome {
  return { outcome: 'refused', refusal };
}
