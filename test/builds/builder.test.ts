import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type ActionsWorld, built, describeOnEachStore, draft, until } from './harness.ts';
import { startRegistry, type TestRegistry } from './registry.ts';

describeOnEachStore('builder', (newWorld) => {
  let world: ActionsWorld;
  let registry: TestRegistry;

  beforeEach(async () => {
    world = await newWorld();
    registry = await startRegistry();
    await registry.publish('slow', '1.0.0');
    process.env['npm_config_registry'] = registry.url;
  });
  afterEach(async () => {
    delete process.env['npm_config_registry'];
    await world.close();
    await registry.close();
  });

  const SLOW = draft({ dependencies: [{ name: 'slow', version: '1.0.0' }] });

  async function statusOf(id: string) {
    const { action } = await world.actions.find(id);
    return action.build_status;
  }

  /** Creates a draft whose install waits for the registry. */
  async function createHanging(options = { deploy: false }) {
    const release = registry.hang('slow');
    const { action } = await world.actions.create(SLOW, options);
    return { id: action.id, release };
  }

  const installing = () => until(() => Promise.resolve(registry.requests), (requests) => requests.includes('/slow'));

  test('a draft is pending, then building, then built', async () => {
    const { id, release } = await createHanging();
    expect(await statusOf(id)).toBe('pending');
    await world.newBuilder().start();
    await installing();
    expect(await statusOf(id)).toBe('building');
    release();
    expect(await built(world, id)).toMatchObject({ status: 'built' });
  });

  test('a build that ends after its draft was changed is thrown away', async () => {
    const { id, release } = await createHanging();
    const builder = world.newBuilder();
    await builder.start();
    await installing();
    await world.actions.update(id, { code: 'exports.newer = 1;', dependencies: [] });
    expect(await built(world, id)).toMatchObject({ status: 'built', dependencies: [] });
    release();
    await until(() => Promise.resolve(world.logs), (logs) => logs.some((line) => line['msg'] === 'build overtaken by a newer draft'));
    expect(await built(world, id)).toMatchObject({ status: 'built', dependencies: [], action: { code: 'exports.newer = 1;', archive_key: null } });
  });

  test('an Action is deployed as soon as it is built when it was created so', async () => {
    const { id, release } = await createHanging({ deploy: true });
    const { deploy_version_id: promised } = (await world.actions.find(id)).action;
    await world.newBuilder().start();
    await installing();
    expect((await world.actions.find(id)).deployed).toBeNull();
    release();
    const { deployed } = await until(() => world.actions.find(id), (found) => found.deployed !== null);
    expect(deployed).toMatchObject({ id: promised, number: 1, dependencies: '[{"name":"slow","version":"1.0.0"}]' });
  });

  test('a draft that was changed before it was built is not deployed unasked', async () => {
    const { id } = await createHanging({ deploy: true });
    await world.actions.update(id, { dependencies: [] });
    await world.newBuilder().start();
    await built(world, id);
    expect((await world.actions.find(id)).deployed).toBeNull();
  });

  test('a builder that is stopped leaves its draft to the next one, which takes it up at once', async () => {
    const { id, release } = await createHanging();
    const first = world.newBuilder();
    await first.start();
    await installing();
    await first.stop();
    expect(await statusOf(id)).toBe('pending');
    expect(await readdir(join(world.dataDir, 'cache', 'builds'))).toEqual([]);
    release();
    await world.newBuilder().start();
    expect(await built(world, id)).toMatchObject({ status: 'built' });
  });

  test.each([
    ['at once by one that is alone on the store', true],
    ['when its lease has run out by one of several', false],
  ])('a build whose builder was killed is taken up %s, and its install is dead', async (_when, alone) => {
    const { id, release } = await createHanging();
    const program = fileURLToPath(new URL('builder-process.ts', import.meta.url));
    const killed = spawn(process.execPath, [program, world.place, world.dataDir], { stdio: 'inherit' });
    await installing();
    const installs = await childrenOf(killed.pid!);
    expect(installs).toHaveLength(1);
    killed.kill('SIGKILL');
    await once(killed, 'exit');
    await until(() => isAlive(installs[0]!), (alive) => !alive);
    expect(await statusOf(id)).toBe('building');

    release();
    const next = world.newBuilder({ alone });
    await next.start();
    if (!alone) {
      const { build_claimed_until: until } = (await world.actions.find(id)).action;
      expect(until! - Date.now()).toBeLessThanOrEqual(30_000);
      expect(await statusOf(id)).toBe('building');
      await world.database.db.updateTable('action').set({ build_claimed_until: Date.now() - 1 }).execute();
    }
    expect(await built(world, id)).toMatchObject({ status: 'built' });
  });

  test('two builders on one store build each draft once', async () => {
    const ids: string[] = [];
    for (let i = 0; i < 20; i++) ids.push((await world.actions.create(draft({ name: `Action ${i}` }), { deploy: true })).action.id);
    await Promise.all([world.newBuilder().start(), world.newBuilder().start()]);
    for (const id of ids) await built(world, id);
    const endedNow = () => world.logs.filter((line) => line['msg'] === 'build ended').map((line) => line['action_id']);
    const ended = await until(() => Promise.resolve(endedNow()), (all) => ids.every((id) => all.includes(id)));
    expect(ended).toHaveLength(ids.length);
    const numbers = await world.database.db.selectFrom('action_version').select('number').execute();
    expect(numbers.map(({ number }) => number)).toEqual(ids.map(() => 1));
  });
});

async function childrenOf(pid: number): Promise<number[]> {
  const stats = await Promise.all((await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(statOf));
  return stats.flatMap((stat) => (stat?.parent === pid ? [stat.pid] : []));
}

async function isAlive(pid: number): Promise<boolean> {
  const stat = await statOf(String(pid));
  return stat !== null && stat.state !== 'Z';
}

/** From `/proc/<pid>/stat`: `pid (name) state parent …`; null when the process is gone. */
async function statOf(pid: string): Promise<{ pid: number; state: string; parent: number } | null> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  const [state = '', parent] = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return text === '' ? null : { pid: Number(pid), state, parent: Number(parent) };
}
