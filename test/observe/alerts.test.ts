import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { beforeAll, expect, test } from 'vitest';
import { mustSkip } from '../helpers/must-skip.ts';
import { promtoolProgram } from './promtool.ts';

const run = promisify(execFile);
const ALERTS = new URL('../../examples/monitoring/alerts.yml', import.meta.url).pathname;
const CASES = new URL('alerts.cases.yml', import.meta.url).pathname;
/** On a machine that has none yet, it is built. */
const BUILD_MS = 10 * 60_000;

let promtool: string | null = null;
beforeAll(async () => {
  promtool = await promtoolProgram(AbortSignal.timeout(BUILD_MS)).catch((error: Error) => {
    mustSkip('the check of the alerts', `promtool cannot be had: ${error.message}`);
    return null;
  });
}, BUILD_MS + 30_000);

test('promtool accepts the alerts', async ({ skip }) => {
  if (promtool === null) skip('no promtool');
  const { stdout } = await run(promtool!, ['check', 'rules', '--lint=all', '--lint-fatal', ALERTS]);
  expect(stdout).toContain('SUCCESS');
});

test('each alert fires when it should, and is silent when all is well', async ({ skip }) => {
  if (promtool === null) skip('no promtool');
  const { stdout } = await run(promtool!, ['test', 'rules', CASES]);
  expect(stdout).toContain('SUCCESS');
});

test('every alert has a case', () => {
  const named = [...readFileSync(ALERTS, 'utf8').matchAll(/- alert: (\w+)/g)].map(([, name]) => name!);
  const tried = new Set([...readFileSync(CASES, 'utf8').matchAll(/alertname="(\w+)"/g)].map(([, name]) => name!));
  expect(named.length).toBeGreaterThan(10);
  expect(named.filter((name) => !tried.has(name))).toEqual([]);
});
