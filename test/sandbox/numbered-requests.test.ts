import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { afterAll, describe, expect, test } from 'vitest';
import { ended, handler, invocation, type Receiver, receiver, runBody, testPool, version } from './harness.ts';

const pool = await testPool();
const KEY = 'registration.step.1';
const idempotency = { header: 'Idempotency-Key', key: KEY };

/** Follows `/redirect` to `/`, answers the first request of each `/retry` with 503. */
async function newReceiver(): Promise<Receiver> {
  let refused = false;
  return await receiver(({ url }, response) => {
    if (url === '/redirect') return response.writeHead(307, { location: '/' }).end();
    if (url === '/retry' && !refused) {
      refused = true;
      return response.writeHead(503).end();
    }
    return response.end('ok');
  });
}

const keysAt = ({ requests }: Receiver): (string | undefined)[] => requests.map(({ headers }) => headers['idempotency-key'] as string | undefined);

/** `get(url, options)`: a request of `http`, awaited. */
const GET = `const get = (url, options = {}) => new Promise((done, failed) => {
  const request = require('http').request(url, options, (response) => response.resume().on('end', done)).on('error', failed);
  request.end(options.body);
});`;

describe('a binding that wants its requests numbered', () => {
  test('has the idempotency key and a number in each request, however it is sent', async () => {
    const web = await newReceiver();
    const result = await runBody(pool, `${GET}
      await get(event.url);
      await (await fetch(event.url)).text();
      await get(event.url, { headers: ['Host', 'web.example', 'X-Own', 'yes'] });
      await get(event.url, { method: 'POST', headers: { Expect: '100-continue', 'Content-Length': 4 }, body: 'body' });
      await get(event.url, { agent: new (require('http').Agent)({ keepAlive: true }) });
      await (await fetch(new Request(event.url, { method: 'POST', body: 'body' }))).text();`, { event: { url: web.url }, idempotency });
    ended(result, 'succeeded');
    expect(keysAt(web)).toEqual([1, 2, 3, 4, 5, 6].map((n) => `${KEY}-${n}`));
    expect(web.requests[2]?.headers).toMatchObject({ 'x-own': 'yes' });
    expect(web.requests.map(({ method, body }) => [method, body])).toEqual([['GET', ''], ['GET', ''], ['GET', ''], ['POST', 'body'], ['GET', ''], ['POST', 'body']]);
  });

  test('counts each step of a redirect and each retry as a request of its own', async () => {
    const web = await newReceiver();
    ended(await runBody(pool, `
      await fetch(event.url + '/redirect');
      while (!(await fetch(event.url + '/retry')).ok);`, { event: { url: web.url }, idempotency }), 'succeeded');
    expect(web.requests.map(({ url }, i) => [url, keysAt(web)[i]])).toEqual([['/redirect', `${KEY}-1`], ['/', `${KEY}-2`], ['/retry', `${KEY}-3`], ['/retry', `${KEY}-4`]]);
  });

  test('leaves a header of that name which the Action sets itself, in whatever case and way', async () => {
    const web = await newReceiver();
    ended(await runBody(pool, `${GET}
      const own = { 'idempotency-KEY': 'own' };
      await get(event.url, { headers: own });
      await get(event.url, { headers: ['Host', 'web.example', 'idempotency-KEY', 'own'] });
      await get(event.url, { method: 'POST', headers: { ...own, Expect: '100-continue' } });
      await (await fetch(event.url, { headers: own })).text();
      await new Promise((done) => { const late = require('http').request(event.url, (r) => r.resume().on('end', done)); late.setHeader('Idempotency-Key', 'own'); late.end(); });
      await get(event.url);`, { event: { url: web.url }, idempotency }), 'succeeded');
    expect(keysAt(web)).toEqual(['own', 'own', 'own', 'own', 'own', `${KEY}-6`]);
  });

  test('gives the same request the same number in every attempt, in a warm process and in a new one', async () => {
    const web = await newReceiver();
    const body = `await (await fetch(event.url + '/a')).text(); await (await fetch(event.url + '/b')).text(); if (event.fails) throw new Error('later');`;
    const of = version(handler(body));
    ended(await pool.run(invocation(of, { event: { url: web.url, fails: true }, idempotency })), 'failed');
    ended(await pool.run(invocation(of, { event: { url: web.url }, idempotency })), 'succeeded');
    ended(await runBody(pool, body, { event: { url: web.url }, idempotency }), 'succeeded');
    expect(new Set(web.requests.map(({ url }, i) => `${url} ${keysAt(web)[i]}`))).toEqual(new Set([`/a ${KEY}-1`, `/b ${KEY}-2`]));
    expect(web.requests).toHaveLength(6);
  });

  test('numbers those that are begun in one go in the order in which they are begun', async () => {
    const web = await newReceiver();
    ended(await runBody(pool, `await Promise.all(['/a', '/b', '/c'].map((path) => fetch(event.url + path)));`, { event: { url: web.url }, idempotency }), 'succeeded');
    expect(Object.fromEntries(web.requests.map(({ url }, i) => [url, keysAt(web)[i]]))).toEqual({ '/a': `${KEY}-1`, '/b': `${KEY}-2`, '/c': `${KEY}-3` });
  });
});

test('without that wish requests go out as they are, also from the process that numbered them before', async () => {
  const web = await newReceiver();
  const of = version(handler(`await (await fetch(event.url)).text();`));
  ended(await pool.run(invocation(of, { event: { url: web.url }, idempotency })), 'succeeded');
  ended(await pool.run(invocation(of, { event: { url: web.url } })), 'succeeded');
  expect(keysAt(web)).toEqual([`${KEY}-1`, undefined]);
});

test('fetch over HTTP/2 has them too', async () => {
  const pem = readFileSync(new URL('fixtures/localhost.pem', import.meta.url), 'utf8');
  const received: unknown[] = [];
  const server = http2.createSecureServer({ key: pem, cert: pem, allowHTTP1: true }, (request, response) => {
    received.push([request.httpVersion, request.headers['idempotency-key']]);
    response.end('ok');
  });
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on('session', (session) => sessions.add(session));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  afterAll(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  const trusting = await testPool({ trustedCertificates: [pem.slice(pem.indexOf('-----BEGIN CERTIFICATE'))] });
  const url = `https://localhost:${(server.address() as AddressInfo).port}/`;
  const result = await runBody(trusting, `await (await fetch(event.url)).text(); await (await fetch(event.url)).text();`, { event: { url }, idempotency });
  ended(result, 'succeeded');
  expect(received).toEqual([['2.0', `${KEY}-1`], ['2.0', `${KEY}-2`]]);
});
