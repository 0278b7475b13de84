import { mkdir, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { arch, availableParallelism, cpus, loadavg, platform, release, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import { programVersion } from '../src/temporal/program-cache.ts';
import { devServerProgram } from '../test/helpers/dev-server.ts';
import type { Ratio } from './statistics.ts';

/** What all benches print and keep. */

const RESULTS = new URL('results/', import.meta.url);

/**
 * Runs a bench: says on what machine, keeps what it returns in `bench/results/` and ends the process. Ctrl-C ends the
 * signal that it gets.
 *
 * @param name begins the name of the file with the results.
 */
export function runBench(name: string, bench: (signal: AbortSignal) => Promise<Record<string, unknown>>): void {
  const ending = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => ending.abort(new Error(`ended by ${signal}`)));

  async function run(): Promise<void> {
    const at = new Date();
    const machine = await machineFacts();
    say(`${machine.cores} cores (${machine.cpu}), Node ${machine.node}, ${machine.temporalServer}; load average ${machine.loadAverage1m}`);
    if (machine.loadAverage1m > machine.cores / 2) say('Other programs keep this machine busy: trust the ratios little, and the absolute numbers not at all.');
    const results = await bench(ending.signal);
    await mkdir(RESULTS, { recursive: true });
    const file = new URL(`${name}${at.toISOString().replaceAll(/[:.]/g, '-')}.json`, RESULTS);
    await writeFile(file, JSON.stringify({ at, seconds: Math.round((Date.now() - at.getTime()) / 1000), machine, ...results }, rounded, 1));
    say(`Kept in ${fileURLToPath(file)}`);
  }

  run().then(
    // A receiver's answers may still be due; nobody waits for them.
    () => process.exit(0),
    (error: unknown) => {
      process.stderr.write(`${inspect(error)}\n`);
      process.exit(1);
    },
  );
}

export function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

export function table(head: string[], rows: string[][]): void {
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => row[column]!.length)));
  const line = (cells: string[]): string => cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))).join('   ');
  say(['', line(head), '─'.repeat(line(head).length), ...rows.map(line)].join('\n'));
}

/** Two cells. */
export function ratio({ ratio, low, high }: Ratio): [string, string] {
  return [ratio.toFixed(2), `${low.toFixed(2)} to ${high.toFixed(2)}`];
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

/** Samples to a thousandth are exact enough, and readable. */
function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' ? Math.round(value * 1000) / 1000 : value;
}

/** The cell of a table that answers a question. */
export function yesNo(is: boolean): string {
  return is ? 'yes' : 'no';
}
