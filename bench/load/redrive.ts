import { type Tally, until } from '../ledger.ts';
import type { BenchUsher } from '../usher.ts';
import { type LoadOptions, PATIENCE_MS, startLoadedUsher } from './loaded-usher.ts';
import { comparePhases, type Phase, type PhaseRow } from './phases.ts';

/*
 * A receiver was down for longer than the retries last; now it is up, and everybody whom it has missed is redriven by one
 * call: what sign-ups wait for meanwhile, and whether each arrives exactly once.
 */

export interface RedriveOptions extends LoadOptions {
  redrive: number;
  /** Registrations a second, at most. */
  rate: number;
}

export interface RedriveResult {
  rows: PhaseRow[];
  /** From the call to the end of the operation, and to the last close. */
  operationSeconds: number;
  seconds: number;
  tally: Tally;
  /** Of the idempotency keys of what was redriven, how many the receiver has got once, and more often. */
  receivedOnce: number;
  receivedAgain: number;
  phases: Phase[];
}

/** @param say gets what is being done, one call a line. @param signal ends it. */
export async function benchRedrive({ redrive, rate, ...options }: RedriveOptions, say: (line: string) => void, signal: AbortSignal): Promise<RedriveResult> {
  await using ends = new AsyncDisposableStack();
  say('starting an Usher for a redrive');
  const { usher, ledger, received, phases, quiet, load } = await startLoadedUsher(ends, options, say, signal);
  say(`writing ${redrive} failed registrations`);
  const range = await ledger.writeFailed(redrive);
  let operationSeconds = Number.NaN;
  let seconds = Number.NaN;

  await quiet('before');
  await quiet('again');
  await load(`${redrive} redriven`, async () => {
    const startedAt = Date.now();
    await redriveFailed(usher, rate);
    operationSeconds = (Date.now() - startedAt) / 1000;
    seconds = ((await ledger.allClosed(PATIENCE_MS, range)) - startedAt) / 1000;
  });
  await quiet('after');

  const timesPerKey = Map.groupBy(received, ({ headers }) => headers['idempotency-key']);
  const times = (await ledger.idempotencyKeys(range)).map((key) => timesPerKey.get(key)?.length ?? 0);
  return {
    rows: comparePhases(phases),
    operationSeconds,
    seconds,
    tally: await ledger.tally(range),
    receivedOnce: times.filter((n) => n === 1).length,
    receivedAgain: times.filter((n) => n > 1).length,
    phases,
  };
}

/** Resolves when everybody has been made due; they have not run yet. */
async function redriveFailed({ management }: BenchUsher, rate: number): Promise<void> {
  const { id } = await management.call<{ id: string }>('POST', '/usher/operations', { kind: 'redrive', filter: { outcome: 'failed' }, rate });
  await until(PATIENCE_MS, 'the operation did not end', async () => (await management.call<{ state: string }>('GET', `/usher/operations/${id}`)).state === 'done');
}
