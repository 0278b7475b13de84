import { readFileSync } from 'node:fs';
import https from 'node:https';
import net, { type AddressInfo } from 'node:net';
import { afterAll, describe, expect, test } from 'vitest';
import { ended, handler, invocation, receiver, runBody, runToEnd, TELL_END, testPool, texts, version } from './harness.ts';

const pool = await testPool();
const web = await receiver((request, response) => {
  if (request.url === '/to-metadata') response.writeHead(302, { location: 'http://169.254.169.254/latest/meta-data/' });
  if (request.url.startsWith('/busy')) response.writeHead(429, { 'retry-after': '7' });
  if (request.url === '/until') response.writeHead(503, { 'retry-after': new Date(Date.now() + 60_000).toUTCString() });
  response.end(`hello ${request.body.length}`);
});
const pem = readFileSync(new URL('fixtures/localhost.pem', import.meta.url));
const secure = https.createServer({ key: pem, cert: pem }, (_request, response) => response.end('secure'));
const echo = net.createServer({ allowHalfOpen: true }, (socket) => socket.on('error', () => {}).pipe(socket));
const ports = await Promise.all(
  [secure, echo].map((server) => new Promise<number>((resolve) => server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)))),
);
const [tlsPort, echoPort] = ports;
afterAll(() => {
  secure.closeAllConnections();
  secure.close();
  echo.close();
});
/** Of those that nobody is given who asks for any: it stays closed. */
const closedPort = 2;
const event = { url: web.url, port: web.port, tlsPort, echoPort, closedPort };
const insecure = `rejectUnauthorized: false`;

describe('connections that are allowed', () => {
  const get = (options: string) => `await new Promise((done, fail) => require('http').get({ port: event.port, ${options} }, (r) => r.on('data', (d) => console.log(String(d))).on('end', done)).on('error', fail));`;
  test.each([
    ['fetch', `console.log(await (await fetch(event.url, { method: 'POST', body: 'abc' })).text());`, 'hello 3'],
    ['http', get(`host: '127.0.0.1'`), 'hello 0'],
    ['http by a name', get(`host: 'localhost'`), 'hello 0'],
    ['http choosing among address families', get(`host: 'localhost', autoSelectFamily: true, family: 4`), 'hello 0'],
    ['http with an agent of its own', get(`host: '127.0.0.1', agent: new (require('http').Agent)({ keepAlive: true, keepAliveMsecs: 5000, noDelay: true })`), 'hello 0'],
    ['http with a lookup of its own', get(`host: 'nowhere.invalid', lookup: (h, o, cb) => o.all ? cb(null, [{ address: '127.0.0.1', family: 4 }]) : cb(null, '127.0.0.1', 4)`), 'hello 0'],
    ['http by import()', `const http = await import('node:http'); await new Promise((done) => http.get(event.url, (r) => r.on('data', (d) => console.log(String(d))).on('end', done)));`, 'hello 0'],
    ['https', `await new Promise((done, fail) => require('https').get({ host: 'localhost', port: event.tlsPort, ${insecure} }, (r) => r.on('data', (d) => console.log(String(d), r.socket.remotePort === event.tlsPort, r.socket.authorized)).on('end', done)).on('error', fail));`, 'secure true false'],
    ['tls.connect(port, host, options)', `await new Promise((done, fail) => { const s = require('tls').connect(event.tlsPort, 'localhost', { ${insecure} }, () => { console.log(s.encrypted, s.getProtocol()); s.end(); }); s.on('close', done).on('error', fail).resume(); });`, 'true TLSv1.3'],
    ['a certificate that it trusts by itself', `await new Promise((done, fail) => require('https').get({ host: 'localhost', port: event.tlsPort, ca: event.ca }, (r) => r.on('data', (d) => console.log(String(d))).on('end', done)).on('error', fail));`, 'secure'],
    ['dns.lookup', `require('dns').lookup('localhost', { family: 4 }, (e, a, f) => console.log(a, f));`, '127.0.0.1 4'],
    ['dns.promises.lookup', `console.log(JSON.stringify(await require('dns/promises').lookup('127.0.0.1', { all: true })));`, '[{"address":"127.0.0.1","family":4}]'],
    ['a promisified dns.lookup', `console.log((await require('util').promisify(require('dns').lookup)('localhost', { family: 4 })).address);`, '127.0.0.1'],
  ])('%s works', async (_name, body, expected) => {
    const result = await runToEnd((options) => runBody(pool, `${TELL_END} ${body}`, { event: { ...event, ca: pem.toString() }, ...options }));
    expect(texts(result)).toEqual([expected]);
  });

  test('a self-signed certificate is refused unless the Action says otherwise', async () => {
    const { error } = ended(await runBody(pool, `await fetch('https://localhost:' + event.tlsPort);`, { event }), 'failed');
    expect(error.message).toMatch(/self-signed certificate/);
  });

  test('megabytes go both ways, half-closed at the end', async () => {
    const result = await runBody(pool, `
      const socket = require('net').connect({ port: event.echoPort, host: '127.0.0.1', allowHalfOpen: true });
      const sent = Buffer.alloc(8e6, 'abcdefg'); const received = []; let address; socket.on('connect', () => { address = socket.remoteAddress; });
      await new Promise((done, fail) => { socket.on('data', (d) => received.push(d)).on('end', done).on('error', fail); socket.end(sent); });
      console.log(Buffer.concat(received).equals(sent), address, socket.bytesRead);`, { event });
    expect(texts(result)).toEqual(['true 127.0.0.1 8000000']);
  });

  test('connections are kept alive and used again, also by the next call', async () => {
    const before = web.connections();
    const of = version(`const agent = new (require('http').Agent)({ keepAlive: true });\n${handler(`for (let i = 0; i < 3; i++) await new Promise((done) => require('http').get(event.url, { agent }, (r) => r.resume().on('end', done)).on('error', done));`)}`);
    for (const _ of [1, 2]) expect(ended(await pool.run(invocation(of, { event })), 'succeeded').calls).toHaveLength(3);
    expect(web.connections() - before).toBe(1);
  });

  test('the async context of whoever connects is there in the events of the socket', async () => {
    const result = await runBody(pool, `
      const storage = new (require('async_hooks').AsyncLocalStorage)();
      await storage.run('mine', () => new Promise((done) => { const s = require('net').connect(event.echoPort, '127.0.0.1', () => { console.log(storage.getStore()); s.write('x'); }); s.once('data', () => { console.log(storage.getStore()); s.destroy(); }).on('close', done); }));`, { event });
    expect(texts(result)).toEqual(['mine', 'mine']);
  });

  test('a hundred requests at once all come through', async () => {
    const result = await runBody(pool, `const all = await Promise.all(Array.from({ length: 100 }, () => fetch(event.url).then((r) => r.text()))); console.log(new Set(all).size, all.length);`, { event });
    expect(texts(result)).toEqual(['1 100']);
  });
});

describe('connections given up while they are made', () => {
  test.each([
    ['an aborted fetch', `const c = new AbortController(); const p = fetch(event.url, { signal: c.signal }); c.abort(); await p.catch((e) => console.log(e.name));`, 'AbortError'],
    ['a destroyed request', `await new Promise((done) => { const r = require('http').get(event.url); r.on('error', (e) => console.log(e.code)).on('close', done); r.destroy(); });`, 'ECONNRESET'],
    ['a destroyed socket', `await new Promise((done) => require('net').connect(event.echoPort, '127.0.0.1').on('close', () => { console.log('closed'); done(); }).destroy());`, 'closed'],
    ['an unreferenced socket', `require('net').connect(event.echoPort, '127.0.0.1').unref(); console.log('unreferenced');`, 'unreferenced'],
  ])('%s ends as in Node and holds nothing up', async (_name, body, expected) => {
    const result = await runToEnd((options) => runBody(pool, `${TELL_END} ${body}`, { event, ...options }));
    expect(texts(result)).toEqual([expected]);
  });

  test('no connection is left behind when the process ends while they are made', async () => {
    let accepted = 0;
    const server = net.createServer((socket) => {
      accepted++;
      socket.on('error', () => {}).resume();
    });
    const port = await new Promise<number>((resolve) => server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)));
    const open = () => new Promise<number>((resolve, reject) => server.getConnections((error, count) => (error ? reject(error) : resolve(count))));
    const body = `for (let i = 0; i < 50; i++) require('net').connect(event.port, '127.0.0.1').on('error', () => {}); setTimeout(() => process.exit(1), 5); for (let end = Date.now() + 200; Date.now() < end;);`;
    expect(ended(await runBody(pool, body, { event: { port } }), 'failed').error.type).toBe('ACTION_CRASHED');
    await expect.poll(() => accepted).toBeGreaterThan(0);
    await expect.poll(open).toBe(0);
    server.close();
  });
});

describe('connections that are refused', () => {
  const refusals: [string, string, RegExp][] = [
    ['the metadata address', `await fetch('http://169.254.169.254/')`, /\(169\.254\.169\.254, link-local\) is refused: .*USHER_EGRESS_ALLOW/],
    ['a private address', `await fetch('http://10.0.0.1/')`, /\(10\.0\.0\.1, private\) is refused/],
    ['a redirect to the metadata address', `await fetch(event.url + '/to-metadata')`, /link-local\) is refused/],
    ['an address from a lookup of its own', `await new Promise((done, fail) => require('http').get({ host: 'example.com', lookup: (h, o, cb) => cb(null, [{ address: '192.168.0.1', family: 4 }]) }).on('error', fail))`, /example\.com \(192\.168\.0\.1, private\) is refused/],
    ['IPv4 written as IPv6', `await fetch('http://[::ffff:10.0.0.1]/')`, /10\.0\.0\.1|::ffff:a00:1/],
    ['a Unix socket', `await new Promise((done, fail) => require('net').connect('/var/run/docker.sock').on('error', fail).on('connect', done))`, /Unix socket \/var\/run\/docker\.sock is refused/],
    ['a DNS query', `await require('dns/promises').resolve4('example.com')`, /dns\.resolve4 is not available in an Action/],
    ['a DNS query by a resolver', `await new Promise((done, fail) => new (require('dns').Resolver)().resolveTxt('example.com', (e) => e ? fail(e) : done()))`, /dns\.resolveTxt is not available in an Action/],
  ];
  test.each(refusals)('%s, with a clear message, before any packet', async (_name, body, message) => {
    expect(ended(await runBody(pool, `${body};`, { event }), 'failed').error.message).toMatch(message);
  });

  test.each([
    ['UDP', `const s = require('dgram').createSocket('udp4'); await new Promise((done, fail) => s.on('error', fail).send('x', 9, '127.0.0.1', (e) => e ? fail(e) : done()))`],
    ['listening', `await new Promise((done, fail) => require('net').createServer().on('error', fail).listen(0, '127.0.0.1', done))`],
    ['a Unix socket to listen on', `await new Promise((done, fail) => require('net').createServer().on('error', fail).listen('/tmp/usher.sock', done))`],
    ["Node's own way of connecting", `process.binding('tcp_wrap')`],
  ])("%s meets Node's permission model", async (_name, body) => {
    expect(ended(await runBody(pool, `${body};`, { event }), 'failed').error.message).toMatch(/restricted|ERR_ACCESS_DENIED|process\.binding|denied/);
  });

  test('a port where nobody listens gives what Node gives', async () => {
    const body = `await new Promise((done) => require('net').connect(1, '127.0.0.1').on('error', (e) => { console.log(e.code, e.syscall, e.address, e.port, e.message); done(); }));`;
    expect(texts(await runBody(pool, body, { event }))).toEqual(['ECONNREFUSED connect 127.0.0.1 1 connect ECONNREFUSED 127.0.0.1:1']);
  });

  test('an impossible port throws as in Node', async () => {
    expect(texts(await runBody(pool, `try { require('net').connect(70000, '127.0.0.1'); } catch (e) { console.log(e.code); }`))).toEqual(['ERR_SOCKET_BAD_PORT']);
  });

  test('loopback is refused where it is not open', async () => {
    const strict = await testPool({ egress: { allow: [], loopbackOpen: false } });
    const before = web.connections();
    for (const host of ['127.0.0.1', 'localhost', '2130706433']) {
      expect(ended(await runBody(strict, `await fetch('http://${host}:' + event.port);`, { event }), 'failed').error.message).toMatch(/loopback\) is refused/);
    }
    expect(web.connections()).toBe(before);
    const opened = await testPool({ egress: { allow: ['127.0.0.1/32'], loopbackOpen: false } });
    ended(await runBody(opened, `await fetch(event.url);`, { event }), 'succeeded');
  });

  test('more connections than a process may hold open', async () => {
    const body = `const net = require('net'); let refused; const all = Array.from({ length: 300 }, () => net.connect(event.echoPort, '127.0.0.1').on('error', (e) => { refused ??= e.message; }));
      await Promise.all(all.map((s) => new Promise((done) => s.once('connect', done).once('close', done)))); console.log(refused, all.filter((s) => !s.destroyed).length); all.forEach((s) => s.destroy());`;
    expect(texts(await runBody(pool, body, { event }))).toEqual(['The Action holds 256 connections open and may not open more: reuse or close them. 256']);
  });
});

describe('recorded calls', () => {
  test('carry method, host, status, time and Retry-After, and nothing that could be a secret', async () => {
    const before = Date.now();
    const result = ended(await runBody(pool, `
      await fetch(event.url + '/busy?key=secret', { method: 'PUT', headers: { authorization: 'secret' }, body: 'secret' });
      await new Promise((done) => require('http').get(event.url + '/until', (r) => r.resume().on('end', done)));
      await fetch('http://127.0.0.1:' + event.closedPort).catch(() => {});
      await new Promise((done) => require('http').get('http://127.0.0.1:' + event.closedPort).on('error', done));`, { event }), 'succeeded');
    const host = `127.0.0.1:${web.port}`;
    expect(result.calls).toEqual([
      { method: 'PUT', host, status: 429, retryAfterMs: 7000, startedAt: expect.any(Number), durationMs: expect.any(Number) },
      { method: 'GET', host, status: 503, retryAfterMs: expect.any(Number), startedAt: expect.any(Number), durationMs: expect.any(Number) },
      { method: 'GET', host: `127.0.0.1:${closedPort}`, error: 'ECONNREFUSED', startedAt: expect.any(Number), durationMs: expect.any(Number) },
      { method: 'GET', host: `127.0.0.1:${closedPort}`, error: 'ECONNREFUSED', startedAt: expect.any(Number), durationMs: expect.any(Number) },
    ]);
    expect(result.calls[1]?.retryAfterMs).toBeGreaterThan(55_000);
    expect(result.calls.every(({ startedAt }) => startedAt >= before && startedAt <= Date.now())).toBe(true);
    expect(JSON.stringify(result)).not.toContain('secret');
  });
});
