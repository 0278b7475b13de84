/** A user of an import that failed, as Auth0 tells it: the user without its hashes, and why. */
export interface ImportFailure {
  user: Record<string, unknown>;
  errors: { code: string; message: string; path: string }[];
}

/** Users by what became of them. */
export interface ImportSummary {
  inserted: number;
  updated: number;
  failed: number;
  total: number;
}

/** What an import was asked for. */
export interface ImportOptions {
  connectionId: string;
  /** Users that are there already are updated; else they fail. */
  upsert: boolean;
  externalId?: string | undefined;
  /** Each inserted user is a registration. */
  registrations: boolean;
  /** Who asked. */
  clientId: string;
}

/** What an export was asked for. */
export interface ExportOptions {
  /** Left out: users of all connections. */
  connectionId?: string | undefined;
  format: 'json' | 'csv';
  limit?: number | undefined;
  fields?: ExportField[] | undefined;
}

/** A part of a user, such as `email`, `user_metadata.plan` or `identities[0].connection`. */
export interface ExportField {
  name: string;
  /** Its title in the file. @default its name */
  export_as?: string | undefined;
}
