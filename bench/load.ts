import { parseArgs } from 'node:util';
import { BULK_RATE } from '../src/domain/bulk-operation.ts';
import { benchBurst, type BurstResult } from './load/burst.ts';
import type { Phase, PhaseRow } from './load/phases.ts';
import { benchRedrive, type RedriveResult } from './load/redrive.ts';
import { benchSlowReceiver, type SlowReceiverResult } from './load/slow-receiver.ts';
import { ratio, runBench, say, table, yesNo } from './report.ts';

/**
 * `npm run bench:load`: whether sign-ups and fast Actions notice a burst of registrations, a receiver that takes 30 s and
 * thousands of failed ones run again, and whether memory stays bounded; each against a base that was measured in the same
 * run. Prints tables and keeps the whole as JSON in `bench/results/`.
 */

const { values } = parseArgs({
  options: {
    /** One of SECTIONS. */
    only: { type: 'string' },
    burst: { type: 'string', default: '5000' },
    'small-burst': { type: 'string', default: '1000' },
    redrive: { type: 'string', default: '10000' },
    /** Registrations a second of the redrive. */
    rate: { type: 'string', default: String(BULK_RATE.default) },
    /** Of 10 s, in each condition of the slow receiver. */
    rounds: { type: 'string', default: '6' },
    /** How long each quiet phase is measured. */
    'quiet-seconds': { type: 'string', default: '40' },
  },
});

const options = { quietMs: count('quiet-seconds') * 1000 };
const SECTIONS: Record<string, (signal: AbortSignal) => Promise<unknown>> = {
  async burst(signal) {
    const result = await benchBurst({ burst: count('burst'), smallBurst: count('small-burst'), ...options }, say, signal);
    printBurst(result);
    return result;
  },
  async slow(signal) {
    const result = await benchSlowReceiver(count('rounds'), say, signal);
    printSlowReceiver(result);
    return result;
  },
  async redrive(signal) {
    const result = await benchRedrive({ redrive: count('redrive'), rate: count('rate'), ...options }, say, signal);
    printRedrive(result);
    return result;
  },
};

runBench('load-', async (signal) => {
  const { only } = values;
  if (only !== undefined && SECTIONS[only] === undefined) throw new Error(`There is no section "${only}". Take one of: ${Object.keys(SECTIONS).join(', ')}.`);
  const results: Record<string, unknown> = {};
  for (const [name, section] of Object.entries(SECTIONS)) if (only === undefined || only === name) results[name] = await section(signal);
  return results;
});

function count(name: Exclude<keyof typeof values, 'only'>): number {
  const number = Number(values[name]);
  if (!Number.isSafeInteger(number) || number < 1) throw new Error(`--${name} must be a whole number above 0, not "${values[name]}".`);
  return number;
}

function printBurst({ rows, phases, drains }: BurstResult): void {
  printPhases(rows, phases);
  table(
    ['drained', 'commits', 'until the last close', 'per second', 'succeeded', 'exactly once'],
    drains.map(({ registrations, commitSeconds, seconds, tally }) => [
      String(registrations),
      `${commitSeconds.toFixed(1)} s`,
      `${seconds.toFixed(1)} s`,
      (tally.registrations / seconds).toFixed(1),
      `${tally.succeeded} of ${tally.registrations}`,
      `${tally.succeededOnce} of ${tally.steps}`,
    ]),
  );
  say('Sign-ups that came while the burst was committed are among the drained.');
}

function printRedrive({ rows, phases, operationSeconds, seconds, tally, receivedOnce, receivedAgain }: RedriveResult): void {
  printPhases(rows, phases);
  say(`All due after ${operationSeconds.toFixed(1)} s, all closed after ${seconds.toFixed(1)} s: ${(tally.registrations / seconds).toFixed(1)} a second.`);
  say(`${tally.succeeded} of ${tally.registrations} succeeded, ${tally.succeededOnce} of ${tally.steps} Actions exactly once. The receiver has got ${receivedOnce} keys once and ${receivedAgain} more often.`);
}

function printSlowReceiver({ rows, slowAtOnce }: SlowReceiverResult): void {
  table(
    ['from the commit to the fast Action\'s success', 'registrations', 'p50', 'p95', 'p50 / A', '95 % interval', 'p95 / A', '95 % interval'],
    rows.map((row) => [row.condition, String(row.registrations), ms(row.p50Ms), ms(row.p95Ms), ...ratio(row.p50), ...ratio(row.p95)]),
  );
  say(`The slow receiver had at most ${slowAtOnce} requests at once.`);
}

function printPhases(rows: PhaseRow[], phases: Phase[]): void {
  table(
    ['one sign-up every 400 ms', 'sign-ups', 'p50', 'p95', 'p50 / quiet', '95 % interval', 'p95 / quiet', '95 % interval', 'like quiet?', 'p95 of twin', 'p95 / twin', '95 % interval', 'like twin?'],
    // Some are over before there was a full round of sign-ups.
    rows.filter(({ signUps }) => signUps > 0).map((row) => [
      row.name, String(row.signUps), ms(row.p50Ms), ms(row.p95Ms), ...ratio(row.p50), ...ratio(row.p95), yesNo(row.p95LikeQuiet),
      ms(row.p95AtTwinMs), ...ratio(row.p95ToTwin), yesNo(row.p95LikeTwin),
    ]),
  );
  say('The first quiet phase is held against itself, the later ones against it (A/A), loads against all quiet ones; and each against sign-ups in the same moments at an idle twin, an Usher of its own on this machine (in quiet phases: A/A).');
  table(
    ['resident memory at its peak', 'api', 'worker', 'Temporal'],
    phases.map(({ name, peakMiB: { api, worker, temporal } }) => [name, mib(api), mib(worker), mib(temporal)]),
  );
}

function ms(milliseconds: number): string {
  return `${milliseconds.toFixed(1)} ms`;
}

function mib(mebibytes: number): string {
  return `${mebibytes.toFixed(0)} MiB`;
}
