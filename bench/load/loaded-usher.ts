import { setTimeout as sleep } from 'node:timers/promises';
import { type Received, startReceiver } from '../../examples/receiver.ts';
import { keepTo } from '../../src/give-way.ts';
import { type BenchLedger, openBenchLedger } from '../ledger.ts';
import { bindCallers, type BenchUsher, fullyReady, signUpWhile, startBenchUsher } from '../usher.ts';
import { type MemoryWatch, watchMemory } from './memory.ts';
import type { Phase } from './phases.ts';

/** Few enough that what they begin themselves is done at once, many enough to hit what stalls. */
const SIGN_UP_EVERY_MS = 200;
/** Until the code of both roles is as fast as it gets. */
const WARM_UP_SIGN_UPS = 150;
/** Lets what the phases before have begun ebb away. */
const EBB_MS = 3_000;
/** Of a load to drain, on a machine that others keep busy too. */
export const PATIENCE_MS = 40 * 60_000;

/** An Usher with one Action bound, which calls a receiver that answers at once. */
interface Bound {
  usher: BenchUsher;
  ledger: BenchLedger;
}

/** Such an Usher, and what is measured while it works. */
export interface LoadedUsher extends Bound {
  /** Another one, that shares nothing with it but the machine: what its work costs sign-ups, any program's would. */
  neighbour: Bound;
  /** What the receiver has got. */
  received: Received[];
  /** Of each phase so far. */
  phases: Phase[];
  /** Measures sign-ups while there is nothing else to do: waits for that first. */
  quiet(when: string): Promise<void>;
  /** Measures sign-ups while `work` goes on. @returns what `work` gives. @throws what `work` throws, or the reason of the signal. */
  load<T>(count: number, doing: string, work: () => Promise<T>): Promise<T>;
  /** The same while the neighbour works. */
  elsewhere<T>(count: number, doing: string, work: () => Promise<T>): Promise<T>;
}

export interface LoadOptions {
  /** How long each quiet phase is measured. */
  quietMs: number;
  /** How many registrations the neighbour is given to work on. */
  elsewhere: number;
}

/** @param ends gets what is to be ended. @param say gets what is being done, one call a line. @param signal ends the phase under way. */
export async function startLoadedUsher(ends: AsyncDisposableStack, { quietMs }: LoadOptions, say: (line: string) => void, signal: AbortSignal): Promise<LoadedUsher> {
  const receiver = ends.adopt(await startReceiver(() => ({ status: 200 })), (started) => started.close());
  const neighbour = await startBound(ends, receiver.url);
  const { usher, ledger } = await startBound(ends, receiver.url);
  // Clients are on machines of their own: what Usher does behind sign-ups must not hold up our clock.
  keepTo('last', process.pid);
  const memory = ends.adopt(await watchMemory(usher), (watch) => watch.stop());
  for (const warmedUp of [neighbour.usher, usher]) {
    let left = WARM_UP_SIGN_UPS;
    await signUpWhile(warmedUp, SIGN_UP_EVERY_MS, () => left-- > 0);
  }

  const phases: Phase[] = [];
  async function measure<T>(name: string, kind: Phase['kind'], doing: string, work: () => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    say(`measuring sign-ups: ${name}`);
    const { result, ...measured } = await signUpDuring(usher, memory, signal, work);
    phases.push({ name, kind, doing, ...measured });
    return result;
  }

  return {
    usher,
    ledger,
    neighbour,
    received: receiver.received,
    phases,
    async quiet(when) {
      for (const each of [neighbour.ledger, ledger]) await each.allClosed(PATIENCE_MS);
      await sleep(EBB_MS);
      await measure(`quiet, ${when}`, 'quiet', 'nothing', () => sleep(quietMs));
    },
    load: (count, doing, work) => measure(`${count} ${doing}`, 'load', doing, work),
    elsewhere: (count, doing, work) => measure(`${count} ${doing} by another Usher`, 'elsewhere', doing, work),
  };
}

async function startBound(ends: AsyncDisposableStack, receiverUrl: string): Promise<Bound> {
  const usher = ends.adopt(await startBenchUsher(), (started) => started.stop());
  await fullyReady(usher);
  await bindCallers(usher, [receiverUrl]);
  return { usher, ledger: ends.adopt(await openBenchLedger(usher), (opened) => opened.close()) };
}

/** Signs people up until `work` ends. */
async function signUpDuring<T>(usher: BenchUsher, memory: MemoryWatch, signal: AbortSignal, work: () => Promise<T>): Promise<Pick<Phase, 'seconds' | 'signUpsMs' | 'peakMiB'> & { result: T }> {
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
  const [signUpsMs, result] = await Promise.all([signUpWhile(usher, SIGN_UP_EVERY_MS, () => goesOn), worked]);
  return { seconds: (performance.now() - startedAt) / 1000, signUpsMs, peakMiB: memory.takePeaks(), result };
}
