import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Receiver, startReceiver } from '../../examples/receiver.ts';
import { VERSION } from '../../src/domain/version.ts';
import { devServerProgram } from '../helpers/dev-server.ts';
import { bindTellingActions } from './actions.ts';
import { createForeignTemporal, type ForeignTemporal } from './foreign-temporal.ts';
import { readRegistration } from './ledger-view.ts';
import { until } from './until.ts';
import { startTestUsher, type TestUsher } from './usher.ts';

const run = promisify(execFile);
const DEPLOYMENT = 'usher';
const RUNS_WITHIN_MS = 90_000;

let receiver: Receiver;
let temporal: ForeignTemporal;
let usher: TestUsher;

beforeAll(async () => {
  receiver = await startReceiver(() => ({ status: 200 }));
  temporal = await createForeignTemporal();
  await temporal.start();
  usher = await startTestUsher({ TEMPORAL_ADDRESS: temporal.address, USHER_TEMPORAL_DEPLOYMENT: DEPLOYMENT });
  await bindTellingActions(usher.management, receiver, ['First', 'Second']);
});

afterAll(async () => {
  await usher?.close();
  await temporal?.close();
  await receiver?.close();
});

async function deployment(...command: string[]): Promise<string> {
  return (await run(await devServerProgram(), ['worker', 'deployment', ...command, '--address', temporal.address])).stdout;
}

test('registrations run on the version that somebody has made the current one, and wait until then', async () => {
  expect((await usher.signUp('early@example.com')).status).toBe(200);
  // Temporal knows of the version, so its worker asks for work.
  await until('the version is there', () => deployment('describe', '--name', DEPLOYMENT).then((text) => text.includes(VERSION), () => false), RUNS_WITHIN_MS);
  expect(readRegistration(usher.dataDir, 'early@example.com')).toMatchObject({ state: 'open', steps: [{ attempts: [] }, { attempts: [] }] });

  await deployment('set-current-version', '--deployment-name', DEPLOYMENT, '--build-id', VERSION, '--yes');
  for (const email of ['early@example.com', 'late@example.com']) {
    if (email.startsWith('late')) expect((await usher.signUp(email)).status).toBe(200);
    await until(`the registration of ${email} has succeeded`, () => readRegistration(usher.dataDir, email)?.outcome === 'succeeded', RUNS_WITHIN_MS);
  }
});
