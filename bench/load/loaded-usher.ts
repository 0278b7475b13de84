import { setTimeout as sleep } from 'node:timers/promises';
import { type Received, startReceiver } from '../../examples/receiver.ts';
import { keepTo } from '../../src/give-way.ts';
import { type BenchLedger, openBenchLedger } from '../ledger.ts';
import type { Rounds } from '../statistics.ts';
import { bindCallers, type BenchUsher, fullyReady, signUpWhile, startBenchUsher } from '../usher.ts';
import { watchMemory } from './memory.ts';
import type { Phase } from './phases.ts';

/** At each of the two. Few enough that what they begin themselves is done at once, many enough to hit what stalls. */
const SIGN_UP_EVERY_MS = 400;
/** Until the code of both roles is as fast as it gets. */
const WARM_UP_SIGN_UPS = 150;
/** Lets what the phases before have begun ebb away. */
const EBB_MS = 3_000;
/** Of a load to drain, on a machine that others keep busy too. */
export const PATIENCE_MS = 40 * 60_000;

/**
 * An Usher with one Action bound, which calls a receiver that answers at once, and what is measured while it works. Beside
 * it is a twin with a store, a Temporal and roles of its own, to which as many sign-ups come in the same moments, and nothing
 * else: what they wait for too is the machine.
 */
export interface LoadedUsher {
  usher: BenchUsher;
  ledger: BenchLedger;
  /** What the receiver has got. */
  received: Received[];
  /** Of each phase so far. */
  phases: Phase[];
  /** Measures sign-ups while there is nothing else to do: waits for that first. */
  quiet(when: string): Promise<void>;
  /** Measures sign-ups while `work` goes on. @returns what `work` gives. @throws what `work` throws, or the reason of the signal. */
  load<T>(name: string, work: () => Promise<T>): Promise<T>;
}

export interface LoadOptions {
  /** How long each quiet phase is measured. */
  quietMs: number;
}

/** @param ends gets what is to be ended. @param say gets what is being done, one call a line. @param signal ends the phase under way. */
export async function startLoadedUsher(ends: AsyncDisposableStack, { quietMs }: LoadOptions, say: (line: string) => void, signal: AbortSignal): Promise<LoadedUsher> {
  const receiver = ends.adopt(await startReceiver(() => ({ status: 200 })), (started) => started.close());
  const twin = await startBound(ends, receiver.url);
  const usher = await startBound(ends, receiver.url);
  const ledger = ends.adopt(await openBenchLedger(usher), (opened) => opened.close());
  // Clients are on machines of their own: what Usher does behind sign-ups must not hold up our clock.
  keepTo('last', process.pid);
  const memory = ends.adopt(await watchMemory(usher), (watch) => watch.stop());
  let left = 2 * WARM_UP_SIGN_UPS;
  await signUpAtBoth(() => left-- > 0);

  const phases: Phase[] = [];
  /** Signs people up until `work` ends. */
  async function measure<T>(name: string, kind: Phase['kind'], work: () => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    say(`measuring sign-ups: ${name}`);
    memory.takePeaks();
    const startedAt = performance.now();
    let goesOn = true;
    const aborted = Promise.withResolvers<never>();
    const abort = (): void => aborted.reject(signal.reason);
    signal.addEventListener('abort', abort);
    const worked = Promise.race([work(), aborted.promise]).finally(() => {
      goesOn = false;
      signal.removeEventListener('abort', abort);
    });
    const [[signUpsMs, atTwinMs], result] = await Promise.all([signUpAtBoth(() => goesOn), worked]);
    phases.push({ name, kind, seconds: (performance.now() - startedAt) / 1000, signUpsMs, atTwinMs, peakMiB: memory.takePeaks() });
    return result;
  }

  /** In turns, half of the time between two of them apart. */
  async function signUpAtBoth(goesOn: () => boolean): Promise<[Rounds, Rounds]> {
    return await Promise.all([
      signUpWhile(usher, SIGN_UP_EVERY_MS, goesOn),
      sleep(SIGN_UP_EVERY_MS / 2).then(() => signUpWhile(twin, SIGN_UP_EVERY_MS, goesOn)),
    ]);
  }

  return {
    usher,
    ledger,
    received: receiver.received,
    phases,
    async quiet(when) {
      await ledger.allClosed(PATIENCE_MS);
      await sleep(EBB_MS);
      await measure(`quiet, ${when}`, 'quiet', () => sleep(quietMs));
    },
    load: (name, work) => measure(name, 'load', work),
  };
}

async function startBound(ends: AsyncDisposableStack, receiverUrl: string): Promise<BenchUsher> {
  const usher = ends.adopt(await startBenchUsher(), (started) => started.stop());
  await fullyReady(usher);
  await bindCallers(usher, [receiverUrl]);
  return usher;
}
