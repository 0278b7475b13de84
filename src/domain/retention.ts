/** For how many days what is over is kept; null: for good. */
export interface Retention {
  /** Closed registrations, from their close on, and executions of denied sign-ups. */
  registrations: number | null;
  /** Entries of the tenant log. */
  logs: number | null;
}

export const DEFAULT_RETENTION: Retention = { registrations: 90, logs: 30 };
