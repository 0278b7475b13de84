import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { sql } from 'kysely';
import { nowIsoNanos } from '../domain/ids.ts';
import type { Logger } from '../logger.ts';
import type { Database, Queryable } from '../store/database.ts';
import type { Row } from '../store/schema.ts';
import { removeUnused } from '../store/unused.ts';
import { addVersion } from '../store/versions.ts';
import { keepArchive } from './archives.ts';
import { type BuildError, BuildFailure } from './build-failure.ts';
import { build, type Built } from './build.ts';

/** Installs take memory and CPU that sign-ups need too. */
const BUILDS_AT_ONCE = 2;
/** How long a draft waits whose change nobody told us of (another process made it). */
const POLL_MS = 2_000;
/** A builder that died is noticed after this. */
const LEASE_MS = 30_000;
const RENEW_MS = 5_000;
const CLEANING_MS = 60 * 60 * 1000;

type Draft = Row<'action'>;

/** Builds drafts, in the background, until stopped. */
export interface Builder {
  start(): Promise<void>;
  /** Says that a draft has changed, so that it need not wait for the next look. */
  wake(): void;
  /** Ends running builds; the next builder takes them up. */
  stop(): Promise<void>;
}

/** Is told of each build that has ended. `overtaken`: by a newer draft. */
export type OnBuilt = (result: 'built' | 'failed' | 'overtaken', seconds: number) => void;

/**
 * Takes drafts from `pending` over `building` to `built`, or to `failed` with the reason. Several builders can work on
 * one store: each draft is claimed by a lease.
 *
 * A build that ends after its draft was changed is thrown away. One that was interrupted, or met a failure of ours
 * (disk full, store gone), is taken up again when its lease has run out.
 *
 * @param options.dataDir - must be this builder's alone.
 * @param options.alone - true when no other builder can be alive on this store: what its predecessor left is then
 *   taken up at once.
 */
export function createBuilder(options: { database: Database; dataDir: string; logger: Logger; alone: boolean; onBuilt?: OnBuilt }): Builder {
  const { database, logger } = options;
  const workDir = join(options.dataDir, 'cache', 'builds');
  const stopping = new AbortController();
  let lanes: Promise<void>[] = [];
  let wakeUp = Promise.withResolvers<void>();
  let cleanAt = 0;

  async function lane(): Promise<void> {
    while (!stopping.signal.aborted) {
      const woken = wakeUp.promise;
      let busy = false;
      try {
        busy = await buildNext();
        if (!busy) await cleanSometimes();
      } catch (error) {
        logger.error({ err: error }, 'a build met a failure of ours; it is taken up again');
      }
      if (!busy) await Promise.race([woken, pause(POLL_MS, stopping.signal)]);
    }
  }

  /** @returns false when there is nothing to build. */
  async function buildNext(): Promise<boolean> {
    const draft = await claim(database);
    if (draft === undefined) return false;
    const log = logger.child({ action_id: draft.id, action_name: draft.name });
    const overtaken = new AbortController();
    const renewal = setInterval(() => {
      changeDraft(database.db, draft, claimedUntil(database)).then(
        (still) => still || overtaken.abort(),
        // The build goes on: should another builder begin the same one, their results are equal.
        (error: unknown) => log.warn({ err: error }, 'the lease of a build could not be renewed'),
      );
    }, RENEW_MS);
    const signal = AbortSignal.any([stopping.signal, overtaken.signal]);
    const startedAt = performance.now();
    const tell = (result: Parameters<OnBuilt>[0]) => {
      const durationMs = Math.round(performance.now() - startedAt);
      options.onBuilt?.(result, durationMs / 1000);
      const kept = result !== 'overtaken';
      log.info({ kept, duration_ms: durationMs }, kept ? 'build ended' : 'build overtaken by a newer draft');
    };
    try {
      const built = await tryBuild(draft, signal, log);
      const kept = await finish(draft, built);
      tell(!kept ? 'overtaken' : built instanceof BuildFailure ? 'failed' : 'built');
    } catch (error) {
      if (!signal.aborted) throw error;
      if (stopping.signal.aborted) await changeDraft(database.db, draft, { build_status: 'pending', build_claimed_until: null });
      else tell('overtaken');
    } finally {
      clearInterval(renewal);
    }
    return true;
  }

  async function tryBuild(draft: Draft, signal: AbortSignal, log: Logger): Promise<Built | BuildFailure> {
    try {
      return await build(draft, { db: database.db, workDir, signal, logger: log });
    } catch (error) {
      if (!(error instanceof BuildFailure)) throw error;
      log.warn({ reason: error.message }, 'draft cannot be built');
      return error;
    }
  }

  /** @returns false when the draft was changed while it was built. */
  async function finish(draft: Draft, built: Built | BuildFailure): Promise<boolean> {
    if (built instanceof BuildFailure) {
      const errors: BuildError[] = [{ id: built.id, msg: built.message, url: '' }];
      return await changeDraft(database.db, draft, { build_status: 'failed', build_errors: JSON.stringify(errors), build_claimed_until: null });
    }
    const { archive } = built;
    return await database.transaction(async (tx) => {
      const archiveKey = archive === null || 'key' in archive ? (archive?.key ?? null) : await keepArchive(tx, archive);
      const result = { archive_key: archiveKey, built_at: nowIsoNanos() };
      const kept = await changeDraft(tx, draft, { ...result, build_status: 'built', build_claimed_until: null });
      if (kept && draft.deploy_version_id !== null) await addVersion(tx, { ...draft, ...result }, { id: draft.deploy_version_id });
      return kept;
    });
  }

  async function cleanSometimes(): Promise<void> {
    if (Date.now() < cleanAt) return;
    cleanAt = Date.now() + CLEANING_MS;
    await removeUnused(database);
  }

  return {
    async start() {
      // What a killed builder left.
      await rm(workDir, { recursive: true, force: true });
      if (options.alone) {
        await database.db.updateTable('action')
          .set({ build_status: 'pending', build_claimed_until: null })
          .where('build_status', '=', 'building')
          .execute();
      }
      lanes = Array.from({ length: BUILDS_AT_ONCE }, lane);
    },
    wake() {
      wakeUp.resolve();
      wakeUp = Promise.withResolvers();
    },
    async stop() {
      stopping.abort();
      await Promise.all(lanes);
    },
  };
}

function claimedUntil(database: Database) {
  return { build_claimed_until: sql<number>`${database.now} + ${LEASE_MS}` };
}

/** Takes the draft that has waited longest, also one whose builder is gone. */
async function claim(database: Database): Promise<Draft | undefined> {
  const waiting = (db: Queryable) =>
    db.selectFrom('action')
      .where((eb) => eb.or([
        eb('build_status', '=', 'pending'),
        eb.and([eb('build_status', '=', 'building'), eb('build_claimed_until', '<', database.now)]),
      ]))
      .orderBy('updated_at')
      .limit(1);
  // A look without a transaction first: on SQLite each transaction keeps the other process from writing.
  if ((await waiting(database.db).select('id').executeTakeFirst()) === undefined) return undefined;
  return await database.transaction(async (tx) => {
    const draft = await waiting(tx).selectAll().forUpdate().skipLocked().executeTakeFirst();
    if (draft !== undefined) await changeDraft(tx, draft, { build_status: 'building', ...claimedUntil(database) });
    return draft;
  });
}

/** @returns false, having changed nothing, when the draft is not the one that was claimed any more. */
async function changeDraft(db: Queryable, draft: Draft, change: object): Promise<boolean> {
  const { numUpdatedRows } = await db.updateTable('action')
    .set(change)
    .where('id', '=', draft.id)
    .where('build_seq', '=', draft.build_seq)
    .where('build_status', 'in', ['pending', 'building'])
    .executeTakeFirst();
  return numUpdatedRows > 0n;
}

/** Resolves after the time, or as soon as `signal` is aborted. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
  });
}
