import { setTimeout as sleep } from 'node:timers/promises';
import { type Receiver, startReceiver } from '../../examples/receiver.ts';
import { newId } from '../../src/domain/ids.ts';
import { type BenchLedger, openBenchLedger, until } from '../ledger.ts';
import { percentile, type Ratio, ratioOf, type Rounds, shuffled } from '../statistics.ts';
import { bindCallers, type BenchUsher, fullyReady, signUpWhile, startBenchUsher } from '../usher.ts';

/*
 * One Action calls a receiver that answers after 30 s, another one a receiver that answers at once: how long the fast one
 * takes, beside the slow one and without it. At this rate the slow one would need ninety sandboxes; it gets its share of
 * the worker, and the others wait for it. Each condition has an Usher of its own, measured one at a time, in turns: what
 * waits for the slow one in between is still there when it is its turn again.
 */

const SLOW_MS = 30_000;
const SLOW_TIMEOUT_MS = 60_000;
const ARRIVE_EVERY_MS = 1000 / 3;
const ARRIVALS_PER_ROUND = 30;
const PAUSE_MS = 500;
/** Of the fast Action. */
const PATIENCE_MS = 120_000;

export interface SlowReceiverRow {
  condition: string;
  registrations: number;
  /** From the commit to the fast Action's success. */
  p50Ms: number;
  p95Ms: number;
  /** To the first condition. */
  p50: Ratio;
  p95: Ratio;
}

export interface SlowReceiverResult {
  rows: SlowReceiverRow[];
  /** Requests that the slow receiver had at the same time, at most. */
  slowAtOnce: number;
  samplesMs: Record<string, Rounds>;
}

interface Condition {
  name: string;
  usher: BenchUsher;
  ledger: BenchLedger;
}

/** @param rounds of 10 s in each condition. @param say gets what is being done, one call a line. @param signal ends it after the round under way. */
export async function benchSlowReceiver(rounds: number, say: (line: string) => void, signal: AbortSignal): Promise<SlowReceiverResult> {
  await using ends = new AsyncDisposableStack();
  const fast = ends.adopt(await startReceiver(() => ({ status: 200 })), close);
  const slow = ends.adopt(await startReceiver(() => ({ status: 200, delayMs: SLOW_MS })), close);
  const conditions: Condition[] = [];

  async function start(name: string, urls: string[]): Promise<void> {
    signal.throwIfAborted();
    say(`starting an Usher for: ${name}`);
    const usher = ends.adopt(await startBenchUsher(), (started) => started.stop());
    await fullyReady(usher);
    const bindings = (await bindCallers(usher, urls)).map((value) => ({ ref: { type: 'action_id', value }, usher: { timeout_ms: SLOW_TIMEOUT_MS } }));
    await usher.management.call('PATCH', '/actions/triggers/post-user-registration/bindings', { bindings });
    conditions.push({ name, usher, ledger: ends.adopt(await openBenchLedger(usher), (opened) => opened.close()) });
  }

  await start('fast Action alone (A)', [fast.url]);
  await start('fast Action alone, again (A/A)', [fast.url]);
  await start('fast Action, then one that takes 30 s', [fast.url, slow.url]);

  const samplesMs: Record<string, Rounds> = Object.fromEntries(conditions.map(({ name }) => [name, []]));
  say(`measuring ${conditions.length} × ${ARRIVALS_PER_ROUND} registrations, three a second, ${rounds} times`);
  // The first round warms up, and fills the slow Action's share.
  for (let round = 0; round <= rounds; round++) {
    for (const condition of shuffled(conditions)) {
      signal.throwIfAborted();
      await sleep(PAUSE_MS);
      const durations = await measureRound(condition);
      if (round > 0) samplesMs[condition.name]!.push(durations);
    }
  }
  return { rows: asRows(samplesMs), slowAtOnce: mostAtOnce(slow), samplesMs };
}

/** @returns for each arrival, the milliseconds from its commit to the fast Action's success. */
async function measureRound({ usher, ledger }: Condition): Promise<number[]> {
  const first = newId();
  let left = ARRIVALS_PER_ROUND;
  await signUpWhile(usher, ARRIVE_EVERY_MS, () => left-- > 0);
  const range = { first, last: newId() };
  let durations: (number | null)[] = [];
  await until(PATIENCE_MS, 'the fast Action did not succeed for everybody', async () => {
    durations = await ledger.untilSuccess(range, 0);
    return !durations.includes(null);
  });
  return durations.filter((duration) => duration !== null);
}

/** @param samples the base first. */
function asRows(samples: Record<string, Rounds>): SlowReceiverRow[] {
  const [base = []] = Object.values(samples);
  const p50 = (durations: number[]): number => percentile(durations, 0.5);
  const p95 = (durations: number[]): number => percentile(durations, 0.95);
  return Object.entries(samples).map(([condition, rounds]) => ({
    condition,
    registrations: rounds.flat().length,
    p50Ms: p50(rounds.flat()),
    p95Ms: p95(rounds.flat()),
    p50: ratioOf(rounds, base, p50),
    p95: ratioOf(rounds, base, p95),
  }));
}

function mostAtOnce({ received }: Receiver): number {
  const changes = received.flatMap(({ at, endedAt }) => [{ at, by: 1 }, { at: endedAt ?? Infinity, by: -1 }]).toSorted((a, b) => a.at - b.at || a.by - b.by);
  let now = 0;
  return Math.max(0, ...changes.map(({ by }) => (now += by)));
}

function close(receiver: Receiver): Promise<void> {
  return receiver.close();
}
