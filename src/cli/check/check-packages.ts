import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BuildFailure } from '../../builds/build-failure.ts';
import { type Dependency, type LookedUp, lookUpDependencies } from '../../builds/install.ts';
import { CommandError } from '../terminal.ts';

/** An unreachable registry is given up after this; a look-up takes about a second. */
const TIMEOUT_MS = 60_000;

/** What the registry says about one list of dependencies: what it would bring, or why it cannot be installed. */
export type PackagesCheck = LookedUp | { problem: string };

/** Asks the registry by the settings that builds use; each list once. */
export interface PackagesChecker {
  /** Null: the registry cannot be reached, now and for all later lists. @throws {CommandError} when npm cannot write on this machine. */
  check(dependencies: Dependency[]): Promise<PackagesCheck | null>;
}

export function createPackagesChecker({ signal }: { signal: AbortSignal }): PackagesChecker {
  const known = new Map<string, PackagesCheck>();
  let unreachable = false;
  return {
    async check(dependencies) {
      const key = JSON.stringify(dependencies.map(({ name, version }) => `${name}@${version}`).toSorted());
      const answer = known.get(key);
      if (answer !== undefined || unreachable) return answer ?? null;
      const checked = await lookUp(dependencies, signal);
      if (checked === null) unreachable = true;
      else known.set(key, checked);
      return checked;
    },
  };
}

async function lookUp(dependencies: Dependency[], signal: AbortSignal): Promise<PackagesCheck | null> {
  const dir = await mkdtemp(join(tmpdir(), 'usher-check-'));
  try {
    return await lookUpDependencies({ dir, dependencies }, { signal, timeoutMs: TIMEOUT_MS });
  } catch (error) {
    if (!(error instanceof BuildFailure)) throw error;
    if (error.id === 'disk_unavailable') throw new CommandError(`Nothing is said about the export: ${error.message}`, { cause: error });
    return error.id === 'registry_unavailable' || error.id === 'install_timed_out' ? null : { problem: error.message };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
