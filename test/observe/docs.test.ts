import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadConfig } from '../../src/config.ts';
import { VERSION } from '../../src/domain/version.ts';
import { type Observation, startObservation } from '../../src/roles/observation.ts';
import type { Database } from '../../src/store/database.ts';
import { migrate } from '../../src/store/migrate.ts';
import { openSqlite } from '../../src/store/sqlite.ts';

const ROOT = new URL('../..', import.meta.url).pathname;

let dir: string;
let database: Database;
let observation: Observation;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'usher-observe-'));
  database = openSqlite(join(dir, 'usher.db'));
  await migrate(database);
  observation = await startObservation('worker', database, { config: loadConfig({ USHER_OPS_PORT: '0' }, dir), logger: pino({ level: 'silent' }), onOpsListening: () => undefined });
  await observation.serve({ readiness: () => Promise.resolve({ ready: true, degraded: {} }), sandboxes: () => 0, isTemporalReachable: () => Promise.resolve(true) });
});
afterAll(async () => {
  await observation.close();
  await database.close();
  await rm(dir, { recursive: true, force: true });
});

test('the table of metrics in the docs is what a process has: name, type, labels, what it is', async () => {
  const docs = await readFile(join(ROOT, 'docs/observability.md'), 'utf8');
  const rows = docs.split('\n').filter((line) => line.startsWith('| `usher_'));
  const metrics = observation.metrics.registry.getMetricsAsArray() as unknown as { name: string; type: string; labelNames: string[]; help: string }[];
  const known = metrics
    .filter(({ name }) => name.startsWith('usher_'))
    .map(({ name, type, labelNames, help }) => `| \`${name}\` | ${type} | ${labelNames.map((label) => `\`${label}\``).join(', ')} | ${help} |`.replaceAll('|  |', '| |'));
  expect(known.length).toBeGreaterThan(20);
  expect(rows.toSorted()).toEqual(known.toSorted());
});

test('each alert stands in the docs', async () => {
  const docs = await readFile(join(ROOT, 'docs/observability.md'), 'utf8');
  const alerts = await readFile(join(ROOT, 'examples/monitoring/alerts.yml'), 'utf8');
  for (const [, name] of alerts.matchAll(/- alert: (\w+)/g)) expect(docs).toContain(`\`${name}\``);
});

test('the version that metrics, traces and the OpenAPI document tell is the one of the package', async () => {
  const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  expect(VERSION).toBe(version);
});
