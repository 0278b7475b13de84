import { type Receiver, startReceiver } from '../examples/receiver.ts';
import { openBenchLedger } from './ledger.ts';
import { isNoise, percentile, type Ratio, ratioOf, type Rounds, shuffled } from './statistics.ts';
import { bindCallers, bindTrivial, type BenchUsher, fullyReady, signUp, startBenchUsher, temporalPid } from './usher.ts';

/*
 * What a person waits for at sign-up, whatever happens behind it. Each condition has an Usher of its own; they are
 * measured one at a time, in turns, in an order that each round draws anew, so that drift of the machine hits all alike.
 */

/** How sign-ups come. Without a pause the work behind them fills the processors, and they wait for those. */
const ARRIVALS: Arrival[] = [
  { name: 'one sign-up every 200 ms', everyMs: 200, rounds: 9, budgetMs: 160_000 },
  { name: 'one sign-up as soon as the one before is answered', everyMs: 0, rounds: 16, budgetMs: 70_000 },
];
const SIGN_UPS_PER_ROUND = 10;
/** Lets the work that a block of sign-ups has begun ebb away before the next condition is measured. */
const PAUSE_MS = 400;

const SLOW_RECEIVER_MS = 5_000;
const UNDER_WAY = 500;
/** Below the time limit of an attempt (30 s), and long enough that most are still under way at the end. */
const HOLDING_RECEIVER_MS = 25_000;
const HAND_OVER_PATIENCE_MS = 120_000;
/** Nobody listens there. */
const NO_TEMPORAL = '127.0.0.1:1';

interface Arrival {
  name: string;
  everyMs: number;
  rounds: number;
  /** No round begins after this. */
  budgetMs: number;
}

export interface SignUpRow {
  condition: string;
  signUps: number;
  p50Ms: number;
  p95Ms: number;
  /** To the first condition. */
  p50: Ratio;
  p95: Ratio;
  /** The p50 differs from that of the first condition by no more than the first from itself. */
  p50LikeA: boolean;
}

export interface SignUpResult {
  arrivals: { name: string; rows: SignUpRow[]; samplesMs: Record<string, Rounds> }[];
  /** How many of the registrations under way were open before and after the measurement. */
  underWay: { before: number; after: number };
}

interface Condition {
  name: string;
  usher: BenchUsher;
}

/** @param say gets what is being done, one call a line. @param signal ends it after the block of sign-ups under way. */
export async function benchSignUp(say: (line: string) => void, signal: AbortSignal): Promise<SignUpResult> {
  await using ends = new AsyncDisposableStack();
  const slow = ends.adopt(await startReceiver(() => ({ status: 200, delayMs: SLOW_RECEIVER_MS })), close);
  const holding = ends.adopt(await startReceiver(() => ({ status: 200, delayMs: HOLDING_RECEIVER_MS })), close);
  const conditions: Condition[] = [];
  ends.defer(async () => {
    await Promise.all(conditions.map(({ usher }) => usher.stop()));
  });

  async function start(name: string, env: Record<string, string> = {}): Promise<BenchUsher> {
    signal.throwIfAborted();
    say(`starting an Usher for: ${name}`);
    const usher = await startBenchUsher(env);
    conditions.push({ name, usher });
    if (env['TEMPORAL_ADDRESS'] === undefined) await fullyReady(usher);
    return usher;
  }

  // First, so that the hand-over of so many is long over when the measurement begins.
  const busy = await start(`${UNDER_WAY} registrations under way`);
  await bindCallers(busy, [holding.url]);
  const ledger = ends.adopt(await openBenchLedger(busy), (opened) => opened.close());
  await ledger.register(UNDER_WAY);
  await ledger.allHandedOver(HAND_OVER_PATIENCE_MS);
  await bindCallers(await start(`a receiver that takes ${SLOW_RECEIVER_MS / 1000} s`), [slow.url]);
  await bindTrivial(await start('Temporal is not there', { TEMPORAL_ADDRESS: NO_TEMPORAL }), 1);
  const hanging = await start('Temporal is stopped (SIGSTOP)');
  await bindTrivial(hanging, 1);
  ends.defer(await stopTemporal(hanging));
  await start('nothing bound, again (A/A)');
  await start('nothing bound (A)');
  conditions.reverse();

  const before = await ledger.countOpen();
  const arrivals: SignUpResult['arrivals'] = [];
  for (const arrival of ARRIVALS) {
    const samplesMs = await measure(conditions, arrival, say, signal);
    arrivals.push({ name: arrival.name, rows: asRows(samplesMs), samplesMs });
  }
  return { arrivals, underWay: { before, after: await ledger.countOpen() } };
}

async function measure(conditions: Condition[], { name: arrival, everyMs, rounds, budgetMs }: Arrival, say: (line: string) => void, signal: AbortSignal): Promise<Record<string, Rounds>> {
  const samples: Record<string, Rounds> = Object.fromEntries(conditions.map(({ name }) => [name, []]));
  say(`measuring ${conditions.length} × ${SIGN_UPS_PER_ROUND} sign-ups, up to ${rounds} times: ${arrival}`);
  const endsAt = performance.now() + budgetMs;
  // The first round warms up.
  for (let round = 0; round <= rounds && performance.now() < endsAt; round++) {
    for (const { name, usher } of shuffled(conditions)) {
      signal.throwIfAborted();
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      const durations: number[] = [];
      await signUp(usher);
      for (let i = 0; i < SIGN_UPS_PER_ROUND; i++) {
        const due = new Promise((resolve) => setTimeout(resolve, everyMs));
        durations.push(await signUp(usher));
        await due;
      }
      if (round > 0) samples[name]!.push(durations);
    }
  }
  return samples;
}

/** @param samples the base first, then the same again. */
function asRows(samples: Record<string, Rounds>): SignUpRow[] {
  const [base = [], again = []] = Object.values(samples);
  const p50 = (durations: number[]): number => percentile(durations, 0.5);
  const p95 = (durations: number[]): number => percentile(durations, 0.95);
  const noise = ratioOf(again, base, p50);
  return Object.entries(samples).map(([condition, rounds]) => {
    const ratio = ratioOf(rounds, base, p50);
    return {
      condition,
      signUps: rounds.flat().length,
      p50Ms: p50(rounds.flat()),
      p95Ms: p95(rounds.flat()),
      p50: ratio,
      p95: ratioOf(rounds, base, p95),
      p50LikeA: isNoise(ratio, noise),
    };
  });
}

/**
 * Stops the development server of an Usher in the middle of everything: connections stay open and nothing answers,
 * which is worse than a server that is gone.
 *
 * @returns what lets it go on.
 */
async function stopTemporal(usher: BenchUsher): Promise<() => void> {
  const pid = await temporalPid(usher);
  process.kill(pid, 'SIGSTOP');
  return () => process.kill(pid, 'SIGCONT');
}

function close(receiver: Receiver): Promise<void> {
  return receiver.close();
}
