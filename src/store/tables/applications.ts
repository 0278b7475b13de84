import type { Generated } from 'kysely';

export interface ClientTable {
  id: string;
  name: string;
  /** SHA-256, hex: the secret is random, so a slow hash would add nothing. */
  secret_hash: string;
  /** The secret, for who may read it (`read:client_keys`); null for a first client, whose secret is kept elsewhere. */
  secret_sealed: string | null;
  /** JSON object of strings. */
  metadata: string;
  /** JSON object: every other property of Auth0's client that is kept: `app_type`, `allowed_origins`, `web_origins` … */
  settings: Generated<string>;
  created_at: number;
  /** 0: as it was made. */
  updated_at: Generated<number>;
}

/** What a client may ask for of an API. */
export interface ClientGrantTable {
  /** `cgr_…` */
  id: string;
  client_id: string;
  /** Identifier of a resource server; `MANAGEMENT_AUDIENCE` stands for our Management API under whatever domain. */
  audience: string;
  /** JSON array. */
  scope: string;
  /** `client`: for tokens of its own; `user`: for tokens of the people who log in with it. */
  subject_type: Generated<'client' | 'user'>;
  /** JSON object: every other property of Auth0's client grant that is kept. */
  settings: Generated<string>;
  created_at: number;
}

/** An API that tokens can be asked for, beside the Management API. */
export interface ResourceServerTable {
  id: string;
  /** The audience; unique. */
  identifier: string;
  name: string;
  /** JSON `[{value, description}]`. */
  scopes: string;
  /** JSON object: every other property of Auth0's resource server that is kept. */
  settings: string;
  created_at: number;
}

export interface ConnectionTable {
  id: string;
  name: string;
  /** `auth0` (database), `email` or `sms` (passwordless); others are kept for who reads them, and do nothing. */
  strategy: string;
  /** JSON object, without its secrets. */
  options: string;
  /** JSON `[{path, value}]`: the secrets of the options; null: none. */
  secrets_sealed: Generated<string | null>;
  /** JSON object of strings. */
  metadata: string;
  /** JSON object: every other property of Auth0's connection that is kept: `display_name`, `realms` … */
  settings: Generated<string>;
  /** JSON array of client ids; null: every client may use the connection. */
  enabled_clients: Generated<string | null>;
  created_at: number;
  updated_at: Generated<number>;
}
