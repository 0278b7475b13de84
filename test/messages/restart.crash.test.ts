import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { allDead } from '../e2e/processes.ts';
import { startTestUsher } from '../e2e/usher.ts';
import { startMailServer, until } from './mail-server.ts';

test('a real Usher that is killed with -9 while it sends has lost no mail, and no sign-up waited for the mail server', async () => {
  // Takes connections and says nothing.
  const sockets: Socket[] = [];
  const silent = createServer((socket) => {
    socket.on('error', () => undefined);
    sockets.push(socket);
  });
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as AddressInfo;
  const usher = await startTestUsher({ USHER_SMTP_URL: `smtp://127.0.0.1:${port}`, USHER_MAIL_FROM: 'no-reply@usher.example' });
  try {
    expect(usher.output()).toContain('text messages are not sent; see them at');
    const addresses = Array.from({ length: 5 }, (_, index) => `person${index}@example.com`);
    for (const address of addresses) {
      const { status, ms } = await usher.signUp(address);
      expect(status).toBe(200);
      expect(ms).toBeLessThan(9_000);
    }
    await until(() => sockets.length > 0, 'a mail to be on its way');
    const { all } = usher.processes();
    await usher.kill();
    await allDead(all, 10_000);
    for (const socket of sockets) socket.destroy();
    silent.close();
    await once(silent, 'close');

    const server = await startMailServer({ port });
    await usher.start();
    await server.wait(addresses.length);
    expect(new Set(server.mails.flatMap((mail) => mail.to))).toEqual(new Set(addresses));
    await usher.terminate();
    await server.close();
  } finally {
    await usher.close();
  }
});
