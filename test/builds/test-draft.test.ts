import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDraft, type TestDraft } from '../../src/builds/test-draft.ts';
import { createSandboxPool, type SandboxPool } from '../../src/sandbox/pool.ts';
import { type ActionsWorld, built, draft, makeWorld, until } from './harness.ts';

let world: ActionsWorld;
let pool: SandboxPool;
let testDraft: TestDraft;
let names = 0;

beforeAll(async () => {
  world = await makeWorld();
  await world.newBuilder({ alone: true }).start();
  pool = await createSandboxPool({ slots: 1, maxUses: 1, maxWaitMs: 200, egress: { allow: [], loopbackOpen: true }, logger: pino({ level: 'silent' }) });
  testDraft = createTestDraft({ actions: world.actions, versions: world.newVersionCache(), sandbox: pool });
});
afterAll(async () => {
  await pool?.close({ graceMs: 0 });
  await world?.close();
});

async function newDraft(statements: string): Promise<string> {
  const code = `let runs = 0;\nexports.onExecutePostUserRegistration = async () => { ${statements} };`;
  const { action } = await world.actions.create(draft({ name: `Tested ${names++}`, code }), { deploy: false });
  await built(world, action.id);
  return action.id;
}

const run = (id: string, signal = new AbortController().signal) => testDraft(id, { event: undefined, signal });

test('tests at once are limited to their own pool: one too many is told to try again, and counts for nothing', async () => {
  const id = await newDraft('await new Promise((resolve) => setTimeout(resolve, 60_000));');
  const client = new AbortController();
  const first = run(id, client.signal);
  first.catch(() => undefined);
  await until(() => Promise.resolve(pool.pids()), (pids) => pids.length > 0);
  await expect(run(id)).rejects.toMatchObject({ status: 503, body: { message: 'The Action was not run: No sandbox was free within 0.2 s. Try again.' } });
  client.abort(new Error('the client has left'));
  await expect(first).rejects.toThrow('the client has left');
});

test('each test begins in a new process, which is gone afterwards', async () => {
  const id = await newDraft('console.log(++runs);');
  for (let count = 0; count < 2; count++) expect((await run(id)).logs).toMatchObject([{ text: '1' }]);
  await until(() => Promise.resolve(pool.pids()), (pids) => pids.length === 0);
});
