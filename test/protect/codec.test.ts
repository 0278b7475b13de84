import { defaultPayloadConverter, type Payload } from '@temporalio/common';
import { expect, test } from 'vitest';
import { shownPath, shownUserId } from '../../src/domain/shown-user-id.ts';
import { codecAccessKey, createCodecKeys } from '../../src/store/codec-keys.ts';
import { createPayloadCodec } from '../../src/temporal/payload-codec.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { bindActions, prepareStore, signUpOf } from '../helpers/stores.ts';

const DAY_MS = 24 * 60 * 60_000;

function payload(value: unknown): Payload {
  return defaultPayloadConverter.toPayload(value);
}

async function read(codec: ReturnType<typeof createPayloadCodec>, payloads: Payload[]): Promise<unknown[]> {
  return (await codec.decode(payloads)).map((each) => defaultPayloadConverter.fromPayload(each));
}

function text(payloads: Payload[]): string {
  return payloads.map(({ data }) => Buffer.from(data ?? []).toString('latin1')).join('\n');
}

describeEachStore('the payload codec', (fresh) => {
  test('what Temporal keeps is read by every process on the store, and by nobody without its keys', async () => {
    const store = await fresh();
    const usher = await prepareStore(store.open());
    const codec = createPayloadCodec(createCodecKeys(usher));
    const values = [{ registrationId: 'canary' }, { state: 'succeeded' }, ['canary'], null, undefined, 'Notify Slack v3'];

    const encoded = await codec.encode(values.map(payload));

    expect(text(encoded)).not.toContain('canary');
    // Summaries are for people.
    expect(text(encoded)).toContain('"Notify Slack v3"');
    expect(await read(createPayloadCodec(createCodecKeys(await prepareStore(store.open()))), encoded)).toEqual(values);
    const stranger = await prepareStore((await fresh()).open());
    await expect(createPayloadCodec(createCodecKeys(stranger)).decode(encoded)).rejects.toThrow(/cannot be opened/);
  });

  test('what was never encrypted, as by 0.1.0, is read as it is', async () => {
    const usher = await prepareStore((await fresh()).open());
    expect(await read(createPayloadCodec(createCodecKeys(usher)), [payload({ v: 1 })])).toEqual([{ v: 1 }]);
  });

  test('a new key encrypts what comes, and what was there stays readable, also to who has not heard of it', async () => {
    const store = await fresh();
    const usher = await prepareStore(store.open());
    const keys = createCodecKeys(usher);
    const other = createCodecKeys(await prepareStore(store.open()));
    const before = await createPayloadCodec(keys).encode([payload({ n: 1 })]);
    await createPayloadCodec(other).encode([payload({})]);
    const access = await codecAccessKey({ keyring: usher.keyring, codecKeys: keys });

    await keys.rotate('admin');

    const after = await createPayloadCodec(keys).encode([payload({ n: 2 })]);
    expect(after[0]!.metadata!['encryption-key-id']).not.toEqual(before[0]!.metadata!['encryption-key-id']);
    expect(await read(createPayloadCodec(other), [...before, ...after])).toEqual([{ n: 1 }, { n: 2 }]);
    expect(await codecAccessKey({ keyring: usher.keyring, codecKeys: keys })).not.toBe(access);
  });

  test('payloads under keys that are not there cost one look at the store, not one each', async () => {
    const usher = await prepareStore((await fresh()).open());
    const keys = createCodecKeys(usher);
    let looks = 0;
    const codec = createPayloadCodec({ ...keys, find: (id) => ((looks += 1), keys.find(id)) });
    const [encoded] = await codec.encode([payload({ n: 1 })]);
    const strange = Array.from({ length: 50 }, (_, n) => ({ ...encoded!, metadata: { ...encoded!.metadata, 'encryption-key-id': Buffer.from(`none-${n}`) } }));
    await expect(codec.decode(strange)).rejects.toThrow(/cannot be opened/);
    expect(looks).toBe(1);
  });

  test('workflows go on while the store is away', async () => {
    const store = await fresh();
    const { database, keyring } = await prepareStore(store.open());
    const codec = createPayloadCodec(createCodecKeys({ database, keyring }));
    const encoded = await codec.encode([payload({ n: 1 })]);
    await database.close();
    expect(await read(codec, [...encoded, ...(await codec.encode([payload({ n: 2 })]))])).toEqual([{ n: 1 }, { n: 2 }]);
  });

  test('an old key stays as long as a registration is open that began under it, and then as long as Temporal keeps its history', async () => {
    const store = await fresh();
    const usher = await prepareStore(store.open());
    await bindActions(usher, [{ name: 'Notify' }]);
    const keys = createCodecKeys(usher);
    await keys.current();
    const { registrationId } = await usher.register(signUpOf('ann@example.com'));
    await keys.rotate('admin');
    const [old] = await keys.list();
    const at = async (days: number) => {
      await keys.removeUnneeded({ retentionMs: 30 * DAY_MS, now: Date.now() + days * DAY_MS });
      return (await keys.list()).some(({ id }) => id === old!.id);
    };

    expect(await at(400)).toBe(true);
    await usher.ledger.cancelRegistration(registrationId);
    expect(await at(401)).toBe(true);
    expect(await at(430)).toBe(true);
    expect(await at(432)).toBe(false);
    expect(await keys.list()).toHaveLength(1);
  });
});

test('a user id with an address in it is shown to nobody, and the same one is shown as the same', () => {
  const mac = (id: string) => Buffer.from(id).toString('hex').padEnd(16, '0');
  for (const id of ['auth0|5f7c8ec7', 'google-oauth2|103547991597142817347', 'waad|bN-x_1']) expect(shownUserId(id, mac)).toBe(id);
  for (const id of ['samlp|acme|ann@example.com', 'sms|+4915112345678', 'ann%40example.com']) {
    expect(shownUserId(id, mac)).toMatch(/^hidden-[0-9a-f]{16}$/);
    expect(shownUserId(id, mac)).toBe(shownUserId(id, mac));
  }
});

test('the log shows no address and no key in a path', () => {
  expect(shownPath('/usher/users/samlp%7Cann%40example.com/erase')).toBe('/usher/users/…/erase');
  expect(shownPath('/usher/codec/0123456789abcdef/decode')).toBe('/usher/codec/…/decode');
  expect(shownPath('/usher/codec/decode')).toBe('/usher/codec/decode');
  // The address as `GET /usher/keys` gives it, opened in a browser.
  expect(shownPath('/usher/codec/0123456789abcdef')).toBe('/usher/codec/…');
  expect(shownPath('//usher/codec/0123456789abcdef/decode')).toBe('//usher/codec/…/decode');
  expect(shownPath('/api/v2/actions/actions/01a2/deploy')).toBe('/api/v2/actions/actions/01a2/deploy');
});
