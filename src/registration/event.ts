import { createHash } from 'node:crypto';
import type { Client } from '../store/clients.ts';
import type { Connection } from '../store/connections.ts';

/** An installation is one tenant. */
export const TENANT = { id: 'usher' };

/** The request that signs a user up, as Actions see it. */
export interface RequestFacts {
  ip: string;
  hostname: string;
  method: string;
  language?: string;
  userAgent?: string;
  /** TLS fingerprints, set by a trusted proxy. */
  ja3?: string;
  ja4?: string;
}

/** A user's profile by Auth0's names. */
export interface Profile {
  given_name?: string;
  family_name?: string;
  name?: string;
  nickname?: string;
  picture?: string;
}

export type Metadata = Record<string, unknown>;

/** The user as it is to be, before it has an id. */
export interface NewUserFacts {
  email: string | null;
  username: string | null;
  phoneNumber: string | null;
  profile: Profile;
  userMetadata: Metadata;
  appMetadata: Metadata;
}

/** An event without `secrets` and `usher`, which `withInvocation` adds for each Action. */
export type ActionEvent = Record<string, unknown>;

/**
 * Fills a profile as Auth0 does: the name is the e-mail, else the phone number or the username; the nickname is the
 * e-mail's local part. The picture is Gravatar's, with a pattern made there for who has none.
 */
export function withProfileDefaults(profile: Profile, { email, phoneNumber, username }: Pick<NewUserFacts, 'email' | 'phoneNumber' | 'username'>): Profile {
  const name = email ?? phoneNumber ?? username ?? '';
  const digest = createHash('md5').update(name).digest('hex');
  return {
    name,
    nickname: email === null ? name : email.slice(0, email.lastIndexOf('@')),
    picture: `https://s.gravatar.com/avatar/${digest}?s=480&r=pg&d=identicon`,
    ...profile,
  };
}

/** What `preUserRegistrationEvent` is made of. */
export interface PreUserRegistrationFacts {
  client: Client | null;
  connection: Connection;
  request: RequestFacts;
  /** The body as it came; its password is left out of the event. */
  body: Record<string, unknown>;
  user: NewUserFacts;
}

/** The `event` of pre-user-registration; form: contract §1.3 with the differences of §2. */
export function preUserRegistrationEvent({ client, connection, request, body, user }: PreUserRegistrationFacts): ActionEvent {
  const { password: _password, ...bodyWithoutPassword } = body;
  return {
    ...common(connection, request),
    ...(client === null ? {} : { client: { client_id: client.id, name: client.name, metadata: client.metadata } }),
    request: { ...requestOf(request), body: bodyWithoutPassword },
    user: { ...user.profile, ...identifiersOf(user), user_metadata: user.userMetadata, app_metadata: user.appMetadata },
  };
}

/** What `postUserRegistrationEvent` is made of. */
export interface PostUserRegistrationFacts {
  connection: Connection;
  /** Null where nobody asked for the user: the trigger's event has no request then. */
  request: RequestFacts | null;
  user: NewUserFacts & { userId: string; createdAt: number; emailVerified?: boolean | undefined; phoneVerified?: boolean | undefined };
}

/** The `event` of post-user-registration; form: contract §1.3. */
export function postUserRegistrationEvent({ connection, request, user }: PostUserRegistrationFacts): ActionEvent {
  const createdAt = new Date(user.createdAt).toISOString();
  return {
    ...common(connection, request),
    ...(request === null ? {} : { request: requestOf(request) }),
    user: {
      ...user.profile,
      ...identifiersOf(user),
      user_id: user.userId,
      email_verified: user.emailVerified ?? false,
      ...(user.phoneNumber === null ? {} : { phone_verified: user.phoneVerified ?? false }),
      user_metadata: user.userMetadata,
      app_metadata: user.appMetadata,
      created_at: createdAt,
      updated_at: createdAt,
    },
  };
}

/** Our one addition to Auth0's event. */
export interface UsherFacts {
  execution_id: string;
  attempt: number;
  /** The same for all attempts and redrives of a step until it has succeeded. */
  idempotency_key: string;
}

/** The whole event of one call of a handler. */
export function withInvocation(event: ActionEvent, added: { secrets: Record<string, string>; usher: UsherFacts }): ActionEvent {
  return { ...event, ...added };
}

function common(connection: Connection, request: RequestFacts | null): ActionEvent {
  const { ja3, ja4 } = request ?? {};
  return {
    configuration: {},
    connection: { id: connection.id, name: connection.name, strategy: connection.strategy, metadata: connection.metadata },
    ...(ja3 === undefined && ja4 === undefined ? {} : { security_context: { ...(ja3 && { ja3 }), ...(ja4 && { ja4 }) } }),
    tenant: TENANT,
    transaction: { acr_values: [], locale: '', requested_scopes: [], ui_locales: [] },
  };
}

function requestOf({ ip, hostname, method, language, userAgent }: RequestFacts): Record<string, unknown> {
  return {
    geoip: {},
    hostname,
    ip,
    ...(language === undefined ? {} : { language }),
    method,
    ...(userAgent === undefined ? {} : { user_agent: userAgent }),
  };
}

function identifiersOf({ email, username, phoneNumber }: NewUserFacts): Record<string, unknown> {
  return {
    ...(email === null ? {} : { email }),
    ...(username === null ? {} : { username }),
    ...(phoneNumber === null ? {} : { phone_number: phoneNumber }),
  };
}
