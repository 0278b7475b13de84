import { mkdir, writeFile } from 'node:fs/promises';
import { arch, availableParallelism, cpus, loadavg, platform, release, totalmem } from 'node:os';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { devServerProgram } from '../test/helpers/dev-server.ts';
import { programVersion } from '../src/temporal/program-cache.ts';
import { benchSignUp, type SignUpResult } from './sign-up.ts';
import type { Ratio } from './statistics.ts';
import { benchThroughput, type ThroughputResult } from './throughput.ts';

/**
 * `npm run bench`: what a sign-up waits for, and how many registrations run to their end in a second, each as a ratio
 * to a base that was measured beside it. Prints tables and keeps the whole as JSON in `bench/results/`.
 */

const RESULTS = new URL('results/', import.meta.url);

async function main(): Promise<void> {
  const ending = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => ending.abort(new Error(`ended by ${name}`)));
  const at = new Date();
  const machine = await machineFacts();
  say(`${machine.cores} cores (${machine.cpu}), Node ${machine.node}, ${machine.temporalServer}; load average ${machine.loadAverage1m}`);
  if (machine.loadAverage1m > machine.cores / 2) say('Other programs keep this machine busy: trust the ratios little, and the absolute numbers not at all.');

  const signUp = await benchSignUp(say, ending.signal);
  printSignUp(signUp);
  const throughput = await benchThroughput(say, ending.signal);
  printThroughput(throughput);

  await mkdir(RESULTS, { recursive: true });
  const file = new URL(`${at.toISOString().replaceAll(/[:.]/g, '-')}.json`, RESULTS);
  await writeFile(file, JSON.stringify({ at, seconds: Math.round((Date.now() - at.getTime()) / 1000), machine, signUp, throughput }, rounded, 1));
  say(`Kept in ${fileURLToPath(file)}`);
}

async function machineFacts() {
  const sdk = createRequire(import.meta.url)('@temporalio/worker/package.json') as { version: string };
  return {
    cores: availableParallelism(),
    cpu: cpus()[0]?.model ?? 'unknown',
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${platform()} ${release()} ${arch()}`,
    loadAverage1m: Math.round(loadavg()[0]! * 10) / 10,
    node: process.versions.node,
    temporalSdk: sdk.version,
    temporalServer: await programVersion(await devServerProgram()),
  };
}

function printSignUp({ arrivals, underWay }: SignUpResult): void {
  for (const { name, rows } of arrivals) {
    table(
      [name, 'p50', 'p95', 'p50 / A', '95 % interval', 'like A?', 'p95 / A', '95 % interval'],
      rows.map((row) => [row.condition, `${row.p50Ms.toFixed(1)} ms`, `${row.p95Ms.toFixed(1)} ms`, ...ratio(row.p50), row.p50LikeA ? 'yes' : 'no', ...ratio(row.p95)]),
    );
  }
  say('The password hash included.');
  say('Like A: no further from A than A measured twice can be from itself (its 95 % interval).');
  say(`Under way: ${underWay.before} registrations before the measurement, ${underWay.after} after it.`);
}

function printThroughput({ rows }: ThroughputResult): void {
  table(
    ['three trivial Actions', 'per second', 'rate / A', '95 % interval'],
    rows.map((row) => [row.what, row.perSecond.toFixed(1), ...ratio(row.rate)]),
  );
  say('From the first commit (or start) to the last close (or record).');
}

function ratio({ ratio, low, high }: Ratio): [string, string] {
  return [ratio.toFixed(2), `${low.toFixed(2)} to ${high.toFixed(2)}`];
}

function table(head: string[], rows: string[][]): void {
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]!.length)));
  const line = (cells: string[]): string => cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))).join('   ');
  say(['', line(head), '─'.repeat(line(head).length), ...rows.map(line)].join('\n'));
}

/** Samples to a hundredth are exact enough, and readable. */
function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' ? Math.round(value * 1000) / 1000 : value;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

main().then(
  // A receiver's answers may still be due; nobody waits for them.
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
    process.exit(1);
  },
);
