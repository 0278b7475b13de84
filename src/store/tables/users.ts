import type { Generated } from 'kysely';
import type { Flag } from './flag.ts';

/** A user. Email and username are kept in lower case, as Auth0 does, and are unique in their connection; a phone number is
 * where it identifies: among users whose id begins with `sms|`. */
export interface UserAccountTable {
  /** With the provider, e.g. `auth0|5f7c8ec7c33c6c004bbafe82`. */
  id: string;
  connection_id: string;
  email: string | null;
  email_verified: Flag;
  username: string | null;
  phone_number: string | null;
  phone_verified: Flag;
  /** JSON object: given_name, family_name, name, nickname, picture. */
  profile: string;
  user_metadata: string;
  app_metadata: string;
  /** Argon2id or an imported bcrypt hash, as PHC or modular crypt text. */
  password_hash: string | null;
  last_password_reset: number | null;
  blocked: Generated<Flag>;
  logins_count: Generated<number>;
  last_login: Generated<number | null>;
  last_ip: Generated<string | null>;
  created_at: number;
  updated_at: number;
}

export interface RoleTable {
  /** `rol_…` */
  id: string;
  /** Unique. */
  name: string;
  description: string;
  created_at: number;
}

export interface UserRoleTable {
  user_id: string;
  role_id: string;
  created_at: number;
}

export interface RolePermissionTable {
  role_id: string;
  /** Of the API, as `client_grant.audience`. */
  audience: string;
  name: string;
}
