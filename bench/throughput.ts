import { startTestDevServer } from '../test/helpers/dev-server.ts';
import { startHandWritten } from './hand-written/run.ts';
import { type BenchLedger, openBenchLedger } from './ledger.ts';
import { type Ratio, ratioOf, type Rounds, shuffled } from './statistics.ts';
import { bindTrivial, type BenchUsher, fullyReady, signUp, startBenchUsher } from './usher.ts';

/*
 * How many registrations go through three trivial Actions in a second, against a workflow written by hand with as many
 * activities (load, three, record) that do nothing: what Usher costs over bare Temporal. Both on one development
 * server, in turns. Password hashes are left out: the registrations are committed at once, and the hand-over, the
 * ledger, the sandbox and the closing are all inside.
 */

const ROUNDS = 4;
/** One round says nothing about the next. */
const ROUNDS_AT_LEAST = 2;
/** No further round begins after this. */
const BUDGET_MS = 60_000;
const PER_ROUND = 200;
const WARM_UP = 20;
/** Lets what Temporal has to do after a run ebb away. */
const PAUSE_MS = 2_000;
const PATIENCE_MS = 180_000;

export interface ThroughputRow {
  what: string;
  perSecond: number;
  /** To the hand-written workflow. */
  rate: Ratio;
}

export interface ThroughputResult {
  rows: ThroughputRow[];
  secondsPerRound: Record<string, Rounds>;
}

/** @param say gets what is being done, one call a line. @param signal ends it between two rounds. */
export async function benchThroughput(say: (line: string) => void, signal: AbortSignal): Promise<ThroughputResult> {
  await using ends = new AsyncDisposableStack();
  say('starting a Temporal server, an Usher and a worker of the hand-written workflow');
  const temporal = ends.adopt(await startTestDevServer(), (server) => server.stop());
  const handWritten = ends.adopt(await startHandWritten(temporal.address), (started) => started.stop());
  const usher = ends.adopt(await startBenchUsher({ TEMPORAL_ADDRESS: temporal.address }), (started) => started.stop());
  await fullyReady(usher);
  await bindTrivial(usher, 3);
  const ledger = ends.adopt(await openBenchLedger(usher), (opened) => opened.close());

  const runs = [
    { what: 'a hand-written workflow (A)', run: (count: number) => handWritten.run(count) },
    { what: 'Usher', run: (count: number) => drain(usher, ledger, count) },
    { what: 'a hand-written workflow, again (A/A)', run: (count: number) => handWritten.run(count) },
  ];
  for (const { run } of runs) await run(WARM_UP);

  const seconds: Record<string, Rounds> = Object.fromEntries(runs.map(({ what }) => [what, []]));
  say(`measuring ${runs.length} × ${PER_ROUND} registrations, up to ${ROUNDS} times`);
  const endsAt = performance.now() + BUDGET_MS;
  for (let round = 0; round < ROUNDS_AT_LEAST || (round < ROUNDS && performance.now() < endsAt); round++) {
    for (const { what, run } of shuffled(runs)) {
      signal.throwIfAborted();
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      seconds[what]!.push([await run(PER_ROUND)]);
    }
  }
  const base = seconds[runs[0]!.what]!;
  return { rows: runs.map(({ what }) => rowOf(what, seconds[what]!, base)), secondsPerRound: seconds };
}

/** @returns seconds from the first commit to the last close. */
async function drain(usher: BenchUsher, ledger: BenchLedger, count: number): Promise<number> {
  const startedAt = Date.now();
  await ledger.register(count - 1);
  // Wakes the dispatcher, which otherwise looks once a second.
  await signUp(usher);
  return ((await ledger.allClosed(PATIENCE_MS)) - startedAt) / 1000;
}

function rowOf(what: string, seconds: Rounds, base: Rounds): ThroughputRow {
  const perSecond = (durations: number[]): number => (durations.length * PER_ROUND) / durations.reduce((sum, each) => sum + each, 0);
  return { what, perSecond: perSecond(seconds.flat()), rate: ratioOf(seconds, base, perSecond) };
}
