/** Facts of the installation: its id, the master key's check value, the Temporal namespace it last spoke with. */
export interface SettingTable {
  name: string;
  value: string;
}

/** One key per registration and per Action, wrapped under the master key; deleting the row erases what it sealed. */
export interface DataKeyTable {
  id: string;
  wrapped: string;
  master_key_id: string;
  created_at: number;
}

/** RS256 keys of the token endpoint; `id` is the `kid`. */
export interface SigningKeyTable {
  id: string;
  public_jwk: string;
  private_jwk_sealed: string;
  key_id: string;
  created_at: number;
}

/** Auth0's tenant log. */
export interface LogTable {
  id: string;
  date: number;
  type: string;
  user_id: string | null;
  connection_id: string | null;
  client_id: string | null;
  registration_id: string | null;
  /** JSON: everything else of Auth0's log item (user_name, ip, details …). */
  item_sealed: string;
  key_id: string;
}

/** Counts that end by themselves: requests of a rate limit's window, failed logins. */
export interface CounterTable {
  key: string;
  count: number;
  expires_at: number;
}
