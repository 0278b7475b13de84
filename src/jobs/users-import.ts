import { newUserId } from '../domain/ids.ts';
import type { ImportFailure, ImportOptions, ImportSummary } from '../domain/job.ts';
import { type Metadata, postUserRegistrationEvent, type Profile, withProfileDefaults } from '../registration/event.ts';
import { type Register, UserExistsError } from '../registration/register.ts';
import { flag, userRow } from '../registration/user-row.ts';
import { type Connection, toConnection } from '../store/connections.ts';
import { type Database, type Queryable, uniqueViolation } from '../store/database.ts';
import type { ClaimedJob, JobStore } from '../store/jobs.ts';
import type { Row } from '../store/schema.ts';
import { IS_SMS_USER } from '../store/users.ts';
import { JOB_LEASE_MS, type JobWork } from './job-runner.ts';

/** A user of the file, checked for form. */
export interface UserToImport {
  /** Without the provider. */
  id?: string | undefined;
  email: string | null;
  username: string | null;
  phoneNumber: string | null;
  emailVerified?: boolean | undefined;
  phoneVerified?: boolean | undefined;
  blocked?: boolean | undefined;
  profile: Profile;
  userMetadata?: Metadata | undefined;
  appMetadata?: Metadata | undefined;
  passwordHash: string | null;
  /** It came as `custom_password_hash`, which an upsert may change. */
  isCustomHash: boolean;
}

/** Reads one entry of the file, in the form of Auth0's schema of it. */
export type ReadUser = (entry: unknown, strategy: string) => { user: UserToImport } | { failure: ImportFailure };

export interface UsersImportDeps {
  database: Database;
  jobs: Pick<JobStore, 'advance' | 'writeFailure' | 'finish'>;
  register: Register;
  readUser: ReadUser;
}

const NOT_JSON = 'Failed to parse users file JSON when importing users. Make sure it is valid JSON.';
const NO_CONNECTION = 'The connection of the import does not exist any more.';

type Outcome = keyof Omit<ImportSummary, 'total'>;

/**
 * Imports the users of a file, each in a transaction of its own that also moves the job on: so each is imported exactly
 * once, wherever the work is interrupted. Hashes are kept as they come.
 */
export function createUsersImport({ database, jobs, register, readUser }: UsersImportDeps): JobWork {
  const { db } = database;

  return async (job, signal) => {
    const options = job.options as unknown as ImportOptions;
    const entries = parseFile(job.content ?? '');
    if (entries === null) return await jobs.finish(job, { status: 'failed', statusDetails: NOT_JSON });
    const row = await db.selectFrom('connection').selectAll().where('id', '=', options.connectionId).executeTakeFirst();
    if (row === undefined) return await jobs.finish(job, { status: 'failed', statusDetails: NO_CONNECTION });

    const connection = toConnection(row);
    const summary: ImportSummary = { inserted: 0, updated: 0, failed: 0, ...job.summary, total: entries.length };
    for (; job.position < entries.length; job.position++) {
      if (signal.aborted) return;
      await importOne({ job, options, connection, summary }, entries[job.position]);
    }
    await jobs.finish(job, { status: 'completed' });
  };

  interface Run {
    job: ClaimedJob;
    options: ImportOptions;
    connection: Connection;
    summary: ImportSummary;
  }

  async function importOne(run: Run, entry: unknown): Promise<void> {
    const { options, connection } = run;
    const read = readUser(entry, connection.strategy);
    if ('failure' in read) return await fail(run, read.failure);

    let there = await findExisting(connection, read.user);
    if (there.length === 0) {
      if (await insert(run, read.user)) return;
      // Somebody has signed up just now.
      there = await findExisting(connection, read.user);
    }
    const [existing, ...others] = there;
    const user = entry as Record<string, unknown>;
    if (existing === undefined || others.length > 0 || existing.connection_id !== connection.id) {
      const message = 'Its identifiers belong to several users, or to one of another connection.';
      return await fail(run, { user, errors: [{ code: 'CONFLICT', message, path: '' }] });
    }
    if (!options.upsert) {
      return await fail(run, { user, errors: [{ code: 'DUPLICATED_USER', message: 'The user already exists. With `upsert` it would be updated.', path: '' }] });
    }
    await database.transaction(async (tx) => {
      const before = await tx.selectFrom('user_account').selectAll().where('id', '=', existing.id).forUpdate().executeTakeFirst();
      if (before !== undefined) await tx.updateTable('user_account').set(changeOf(before, read.user)).where('id', '=', before.id).execute();
      await advance(tx, run, 'updated');
    });
  }

  /** @returns false when there is such a user already. */
  async function insert(run: Run, user: UserToImport): Promise<boolean> {
    const { options, connection } = run;
    const profile = withProfileDefaults(user.profile, user);
    const facts = {
      ...user,
      profile,
      userMetadata: user.userMetadata ?? {},
      appMetadata: user.appMetadata ?? {},
      userId: `${connection.strategy}|${user.id ?? newUserId()}`,
      connectionId: connection.id,
      createdAt: Date.now(),
    };
    const row = userRow(facts);
    try {
      if (options.registrations) {
        await register({
          source: 'import',
          userId: row.id,
          user: row,
          connection: { id: connection.id, name: connection.name },
          clientId: options.clientId,
          event: postUserRegistrationEvent({ connection, request: null, user: facts }),
          cacheChanges: { triggerId: 'post-user-registration', changes: [] },
          log: { type: 'ss', item: logItem(connection, user) },
          alsoWrite: (tx) => advance(tx, run, 'inserted'),
        });
      } else {
        await database.transaction(async (tx) => {
          await tx.insertInto('user_account').values(row).execute();
          await advance(tx, run, 'inserted');
        });
      }
      return true;
    } catch (error) {
      if (error instanceof UserExistsError || uniqueViolation(error)?.table === 'user_account') return false;
      throw error;
    }
  }

  async function findExisting({ id, strategy }: Connection, user: UserToImport): Promise<{ id: string; connection_id: string }[]> {
    const { email, username, phoneNumber } = user;
    return await db.selectFrom('user_account')
      .select(['id', 'connection_id'])
      .where((eb) => {
        const own = [
          ...(email === null ? [] : [eb('email', '=', email)]),
          ...(username === null ? [] : [eb('username', '=', username)]),
          ...(phoneNumber === null || strategy !== 'sms' ? [] : [eb.and([eb('phone_number', '=', phoneNumber), IS_SMS_USER])]),
        ];
        return eb.or([...(user.id === undefined ? [] : [eb('id', '=', `${strategy}|${user.id}`)]), eb.and([eb('connection_id', '=', id), eb.or(own)])]);
      })
      .execute();
  }

  async function fail(run: Run, failure: ImportFailure): Promise<void> {
    await database.transaction(async (tx) => {
      await jobs.writeFailure(tx, run.job, { ...failure, user: withoutHashes(failure.user) });
      await advance(tx, run, 'failed');
    });
  }

  /** The summary counts the user before the transaction commits: what throws ends this run of the job. */
  async function advance(tx: Queryable, { job, summary }: Run, outcome: Outcome): Promise<void> {
    const next = { ...summary, [outcome]: summary[outcome] + 1 };
    await jobs.advance(tx, job, { by: 1, summary: next, leaseMs: JOB_LEASE_MS });
    Object.assign(summary, next);
  }
}

/** The entries of the file; null when it is not an array in JSON. */
function parseFile(content: string): unknown[] | null {
  try {
    const entries: unknown = JSON.parse(content);
    return Array.isArray(entries) ? entries : null;
  } catch {
    return null;
  }
}

/** What an upsert changes; source: Auth0's table of the properties that it can. Metadata is merged at its first level, as by PATCH. */
function changeOf(before: Row<'user_account'>, user: UserToImport): Partial<Row<'user_account'>> {
  const mayChangeHash = user.isCustomHash && before.logins_count === 0;
  return {
    profile: JSON.stringify({ ...(JSON.parse(before.profile) as Profile), ...user.profile }),
    ...(user.emailVerified === undefined ? {} : { email_verified: flag(user.emailVerified) }),
    ...(user.userMetadata === undefined ? {} : { user_metadata: merged(before.user_metadata, user.userMetadata) }),
    ...(user.appMetadata === undefined ? {} : { app_metadata: merged(before.app_metadata, user.appMetadata) }),
    ...(mayChangeHash ? { password_hash: user.passwordHash } : {}),
    updated_at: Date.now(),
  };
}

function merged(before: string, change: Metadata): string {
  return JSON.stringify({ ...(JSON.parse(before) as Metadata), ...change });
}

const HIDDEN = '*****';
/** Texts of `custom_password_hash` that tell what is wrong with it. */
const SHOWN = new Set(['algorithm', 'encoding']);

/** A failed user is shown to who asks for the errors, but never with what a password could be guessed by. */
function withoutHashes({ password_hash: hash, custom_password_hash: custom, ...user }: Record<string, unknown>): Record<string, unknown> {
  return {
    ...user,
    ...(hash === undefined ? {} : { password_hash: HIDDEN }),
    ...(custom === undefined ? {} : { custom_password_hash: JSON.parse(JSON.stringify(custom, (key, value: unknown) => (typeof value === 'string' && !SHOWN.has(key) ? HIDDEN : value))) as unknown }),
  };
}

function logItem(connection: Connection, { email, phoneNumber, username }: UserToImport): Record<string, unknown> {
  return {
    description: 'Imported with a registration',
    connection: connection.name,
    strategy: connection.strategy,
    user_name: email ?? phoneNumber ?? username ?? '',
    details: { usher: { source: 'import' } },
  };
}
