/** A code that was sent for a passwordless login. The newest one replaces those before it. */
export interface PasswordlessCodeTable {
  connection_id: string;
  /** E-mail address in lower case, or phone number. */
  recipient: string;
  client_id: string;
  /** HMAC of the code, hex. */
  code_hash: string;
  tries_left: number;
  created_at: number;
  expires_at: number;
}

/** A link in a mail: to verify an address, or to choose a new password. */
export interface TicketTable {
  /** SHA-256 of the link's token, hex. */
  token_hash: string;
  kind: 'verify_email' | 'change_password';
  user_id: string;
  /** The address that it was made for: no other one is verified by it. */
  email: string | null;
  client_id: string | null;
  /** Where the person is sent afterwards. */
  result_url: string | null;
  created_at: number;
  expires_at: number;
}

/**
 * Outbox of mails and text messages: written in the transaction that they belong to, sent afterwards. What was sent is
 * removed, except in development, where it is kept and shown.
 */
export interface MessageTable {
  id: string;
  channel: 'email' | 'sms';
  /** JSON: recipient, subject, text, html. */
  content_sealed: string;
  key_id: string;
  state: 'due' | 'kept' | 'failed';
  due_at: number | null;
  claimed_until: number | null;
  failures: number;
  /** What the last try said; never the content. */
  error: string | null;
  created_at: number;
}

/** An import or export of users, or a mail that was asked for. */
export interface JobTable {
  /** `job_…` */
  id: string;
  type: 'users_import' | 'users_export' | 'verification_email';
  status: 'pending' | 'processing' | 'completed' | 'failed';
  /** JSON object: what was asked for. */
  options: string;
  /** What is imported, or what was exported; null when there is none or it has expired. */
  content_sealed: string | null;
  key_id: string | null;
  /** Users done. */
  position: number;
  /** JSON `{inserted, updated, failed, total}`; of an export `{total}`. */
  summary: string | null;
  /** Why it failed. */
  status_details: string | null;
  /** The lease of who works on it. */
  claimed_until: number | null;
  created_at: number;
  updated_at: number;
}

/** A user that could not be imported. */
export interface JobErrorTable {
  job_id: string;
  /** Its place in the file, from 0. */
  position: number;
  /** JSON `{user, errors}`, as Auth0 tells it. */
  entry_sealed: string;
  key_id: string;
}
