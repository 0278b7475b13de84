import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { pino } from 'pino';
import { afterEach, expect, test } from 'vitest';
import type { Message } from '../../src/domain/message.ts';
import type { Sender } from '../../src/messages/sender.ts';
import { createSenders, type MessageTransports } from '../../src/messages/senders.ts';
import { createMessageStore, writeMessage } from '../../src/store/messages.ts';
import { describeEachStore, type EmptyStore } from '../helpers/each-store.ts';
import { prepareStore, type TestStore } from '../helpers/stores.ts';
import { type MailServer, startMailServer, startSmsGateway, until } from './mail-server.ts';
import { mailTo } from './mail.ts';

const FROM = 'Usher <no-reply@usher.example>';
const senders: Sender[] = [];
const servers: { close(): unknown }[] = [];

afterEach(async () => {
  // The servers wait for the connections that senders keep.
  for (const sender of senders.splice(0)) await sender.stop();
  for (const server of servers.splice(0)) await server.close();
});

async function mailServer(options?: Parameters<typeof startMailServer>[0]): Promise<MailServer> {
  const server = await startMailServer(options);
  servers.push(server);
  return server;
}

describeEachStore('messages', (fresh) => {
  async function open(empty?: EmptyStore): Promise<TestStore> {
    return await prepareStore((empty ?? (await fresh())).open());
  }

  const lines: string[] = [];
  async function startSenders({ database, keyring }: TestStore, transports: Partial<MessageTransports>, alone = false): Promise<Sender> {
    lines.length = 0;
    const logger = pino({}, { write: (line: string) => void lines.push(line) });
    const messages = createMessageStore({ database, keyring });
    const sender = createSenders({ smtp: null, smsGateway: null, ...transports, messages, alone, logger });
    senders.push(sender);
    await sender.start();
    return sender;
  }

  async function write({ database, keyring }: TestStore, ...messages: Message[]): Promise<void> {
    await database.transaction(async (tx) => {
      for (const message of messages) await writeMessage(tx, keyring, message);
    });
  }

  const rows = async ({ database }: TestStore) => await database.db.selectFrom('message').selectAll().orderBy('id').execute();

  test('a mail is sent as text and HTML once its transaction has committed, and then is gone', async () => {
    const usher = await open();
    const server = await mailServer({ credentials: { user: 'usher', pass: 'p@ss:word' } });
    const sender = await startSenders(usher, { smtp: { url: `${server.url.replace('p@ss:word', 'p%40ss%3Aword')}?requireTLS=false`, from: FROM } });
    await expect(usher.database.transaction(async (tx) => {
      await writeMessage(tx, usher.keyring, mailTo('never@example.com'));
      throw new Error('undone');
    })).rejects.toThrow('undone');

    await write(usher, mailTo('ada@example.com'));
    sender.wake();

    const [mail] = await server.wait(1);
    expect(mail).toMatchObject({ to: ['ada@example.com'], from: 'no-reply@usher.example', subject: 'Hello' });
    expect(mail?.text).toContain('Hello there');
    expect(mail?.raw).toMatch(/^From: Usher <no-reply@usher.example>/m);
    expect(mail?.raw).toContain('<p>Hello there</p>');
    await until(async () => (await rows(usher)).length === 0, 'the outbox to be empty');
  });

  test('a password is not sent over a connection without TLS, unless the URL allows it', async () => {
    const usher = await open();
    const server = await mailServer({ credentials: { user: 'usher', pass: 'secret' } });
    const sender = await startSenders(usher, { smtp: { url: server.url, from: FROM } });
    await write(usher, mailTo('ada@example.com'));
    sender.wake();
    await until(async () => (await rows(usher))[0]?.failures === 1, 'the first try');
    expect((await rows(usher))[0]?.error).toContain('ETLS');
    expect(server.logins).toEqual([]);
  });

  test('what is written is sealed', async () => {
    const usher = await open();
    await write(usher, mailTo('ada@example.com'));
    expect(JSON.stringify(await rows(usher))).not.toMatch(/ada@example|Hello/);
  });

  test('several senders on one store send each mail once', async () => {
    const empty = await fresh();
    const usher = await open(empty);
    const server = await mailServer();
    for (let count = 0; count < 3; count++) await startSenders(await open(empty), { smtp: { url: server.url, from: FROM } });

    const addresses = Array.from({ length: 40 }, (_, index) => `person${index}@example.com`);
    for (const address of addresses) await write(usher, mailTo(address));

    await until(async () => (await rows(usher)).length === 0, 'the outbox to be empty');
    expect(server.mails.flatMap((mail) => mail.to).toSorted()).toEqual(addresses.toSorted());
  });

  test('while the server is away, a mail waits with growing pauses, and is sent when the server is back', async () => {
    const usher = await open();
    const first = await startMailServer();
    await first.close();
    const sender = await startSenders(usher, { smtp: { url: first.url, from: FROM } });
    const makeDue = () => usher.database.db.updateTable('message').set({ due_at: 1 }).execute();
    for (const [before, pauseMs] of [5_000, 10_000, 20_000].entries()) {
      const earliest = Date.now() + pauseMs;
      await (before === 0 ? write(usher, mailTo('ada@example.com')) : makeDue());
      sender.wake();
      await until(async () => (await rows(usher))[0]?.failures === before + 1, `failure ${before + 1}`);
      const [row] = await rows(usher);
      expect(row).toMatchObject({ state: 'due', error: expect.stringContaining('ESOCKET') });
      expect(row!.due_at).toBeGreaterThanOrEqual(earliest);
      // PostgreSQL rounds its time, also up.
      expect(row!.due_at).toBeLessThanOrEqual(Date.now() + 1 + pauseMs);
    }

    const server = await mailServer({ port: Number(new URL(first.url).port) });
    await makeDue();
    sender.wake();
    expect((await server.wait(1))[0]?.to).toEqual(['ada@example.com']);
  });

  test('one that is of no use any more, or whose address the server refuses, is given up, and the log tells nothing of it', async () => {
    const usher = await open();
    const server = await mailServer();
    server.refuseWith = { code: 550, text: 'no such user ada@example.com' };
    const sender = await startSenders(usher, { smtp: { url: server.url, from: FROM } });
    await write(usher, mailTo('ada@example.com'), mailTo('ben@example.com', { usefulUntil: Date.now() - 1 }));
    sender.wake();

    await until(async () => (await rows(usher)).every((row) => row.state === 'failed'), 'both to be given up');
    expect((await rows(usher)).map((row) => row.error)).toEqual(['the SMTP server did not take the mail: EENVELOPE 550', 'it would come too late']);
    expect(lines.filter((line) => line.includes('not tried any more'))).toHaveLength(2);
    expect(lines.join('')).not.toMatch(/ada@|ben@|Hello/);
    expect(server.mails).toEqual([]);
  });

  test('a text message goes to the gateway with its authorization, and again after an answer that is no success', async () => {
    const usher = await open();
    const gateway = await startSmsGateway();
    servers.push(gateway);
    gateway.status = 503;
    const sender = await startSenders(usher, { smsGateway: { url: gateway.url, authorization: 'Bearer gateway-token' } });
    await write(usher, { channel: 'sms', to: '+4912345678', from: 'Usher', text: 'Your code is 1', usefulUntil: Date.now() + 60_000 });
    sender.wake();
    await until(async () => (await rows(usher))[0]?.failures === 1, 'the first try');
    gateway.status = 202;
    await usher.database.db.updateTable('message').set({ due_at: 1 }).execute();
    sender.wake();

    const [first, second] = await gateway.wait(2);
    expect(second?.body).toEqual({ to: '+4912345678', from: 'Usher', text: 'Your code is 1' });
    expect(second?.headers).toMatchObject({ authorization: 'Bearer gateway-token', 'content-type': 'application/json', 'idempotency-key': first?.headers['idempotency-key'] });
    await until(async () => (await rows(usher)).length === 0, 'the outbox to be empty');
    expect(lines.join('')).not.toMatch(/gateway-token|\+49123/);
  });

  test('a gateway that is away does not hold up mails', async () => {
    const usher = await open();
    const server = await mailServer();
    const sender = await startSenders(usher, { smtp: { url: server.url, from: FROM }, smsGateway: { url: 'http://127.0.0.1:1/', authorization: null } });
    await write(usher, { channel: 'sms', to: '+4912345678', text: 'x', usefulUntil: Date.now() + 60_000 }, mailTo('ada@example.com'));
    sender.wake();
    await server.wait(1);
  });

  test('a server that takes a connection and says nothing does not hold up a stop; its mail is sent after the next start', async () => {
    const usher = await open();
    const silent = createServer();
    servers.push({ close: () => silent.close() });
    await once(silent.listen(0, '127.0.0.1'), 'listening');
    const connected = once(silent, 'connection');
    const sender = await startSenders(usher, { smtp: { url: `smtp://127.0.0.1:${(silent.address() as AddressInfo).port}`, from: FROM } });
    await write(usher, mailTo('ada@example.com'));
    sender.wake();
    await connected;

    senders.pop();
    const startedAt = performance.now();
    await sender.stop();

    // The server's greeting is waited for 10 s otherwise.
    expect(performance.now() - startedAt).toBeLessThan(9_000);
    const server = await mailServer();
    await startSenders(usher, { smtp: { url: server.url, from: FROM } }, true);
    expect(await server.wait(1)).toMatchObject([{ to: ['ada@example.com'] }]);
  });

  test('without a server, messages are kept: the newest 200', async () => {
    const usher = await open();
    const messages = Array.from({ length: 210 }, (_, index) => mailTo(`person${index}@example.com`));
    await write(usher, ...messages, mailTo(null));
    const sender = await startSenders(usher, {});
    sender.wake();

    const store = createMessageStore(usher);
    await until(async () => (await usher.database.db.selectFrom('message').select('id').where('state', '=', 'due').execute()).length === 0, 'all to be kept');
    const kept = await store.listKept();
    expect(kept.map(({ message }) => message.to)).toEqual(Array.from({ length: 200 }, (_, index) => `person${209 - index}@example.com`));
    expect(await rows(usher)).toHaveLength(200);
  });

  test('a process that is killed with -9 between commit and sending has lost no mail', async () => {
    const empty = await fresh();
    const usher = await open(empty);
    const server = await mailServer();
    const committed: string[] = [];
    for (let round = 0; round < 3; round++) {
      const child = spawn(process.execPath, [new URL('processes/write-and-send.ts', import.meta.url).pathname, empty.place, server.url, `round${round}`], { stdio: ['ignore', 'pipe', 'inherit'] });
      const before = committed.length;
      createInterface(child.stdout).on('line', (line) => committed.push(line));
      while (committed.length < before + 15 && child.exitCode === null) await once(child.stdout, 'data');
      child.kill('SIGKILL');
      await once(child, 'close');
      expect(child.signalCode).toBe('SIGKILL');
    }
    expect(committed.length).toBeGreaterThanOrEqual(45);
    const left = (await rows(usher)).length;
    expect(left).toBeGreaterThan(0);

    await startSenders(usher, { smtp: { url: server.url, from: FROM } }, true);
    await until(async () => (await rows(usher)).length === 0, 'the outbox to be empty', 120_000);
    const received = new Set(server.mails.flatMap((mail) => mail.to));
    expect(committed.filter((address) => !received.has(address))).toEqual([]);
  }, 180_000);
});
