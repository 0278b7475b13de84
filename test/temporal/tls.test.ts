import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { connect, createSecureServer, type IncomingHttpHeaders, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { Worker } from '@temporalio/worker';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { TlsPaths } from '../../src/data-dir.ts';
import { createClient, temporalSettings } from '../../src/temporal/connection.ts';
import { connectWorker } from '../../src/temporal/native-connection.ts';
import { installTelemetry } from '../../src/temporal/telemetry.ts';
import type { CertificatePair } from '../../src/tls/certificate-pair.ts';
import { startTestDevServer, type TestDevServer } from '../helpers/dev-server.ts';
import { testAuthority, testFolder } from '../tls/clients.ts';

/** What a request showed to get in: the API key, and the fingerprint of a client certificate. */
interface Shown {
  method: string;
  authorization: string | undefined;
  certificate: string | undefined;
}

let server: TestDevServer;
let tls: { paths: TlsPaths; pair: CertificatePair };
let front: { port: number; shown: Shown[]; close(): Promise<void> };

beforeAll(async () => {
  await installTelemetry(pino({ level: 'silent' }));
  const folder = await testFolder();
  [server, tls] = await Promise.all([startTestDevServer(), testAuthority(folder)]);
  front = await startTlsFront(server.address, tls.pair);
});
beforeEach(() => {
  front.shown.length = 0;
});
afterAll(async () => {
  await front?.close();
  await server?.stop();
});

/** Takes HTTP/2 over TLS, as Temporal Cloud does, and passes it on without. */
async function startTlsFront(upstream: string, pair: CertificatePair): Promise<typeof front> {
  const shown: Shown[] = [];
  const sessions = new Set<ServerHttp2Session>();
  const behind = connect(`http://${upstream}`);
  // Whatever client certificate comes is taken, and looked at by the test.
  const secure = createSecureServer({ ...pair, requestCert: true, rejectUnauthorized: false });
  secure.on('session', (session) => {
    sessions.add(session.on('error', () => undefined));
  });
  secure.on('stream', (stream: ServerHttp2Stream, headers) => {
    const certificate = (stream.session!.socket as TLSSocket).getPeerCertificate().fingerprint256;
    shown.push({ method: headers[':path']!.split('/').at(-1)!, authorization: headers.authorization, certificate });
    const request = behind.request({ ...headers, ':scheme': 'http', ':authority': upstream });
    let trailers: IncomingHttpHeaders = {};
    request.on('trailers', (last) => {
      trailers = last;
    });
    request.on('response', (answer, flags) => {
      if (stream.destroyed) return;
      // What is refused has no body: its status stands in its only headers.
      const isOver = (flags & 1) === 1;
      stream.respond(answer, isOver ? { endStream: true } : { waitForTrailers: true });
      if (!isOver) request.pipe(stream);
    });
    stream.on('wantTrailers', () => stream.sendTrailers(trailers));
    stream.on('close', () => request.close());
    for (const each of [stream, request]) each.on('error', () => undefined);
    stream.pipe(request);
  });
  secure.listen(0, '127.0.0.1');
  await once(secure, 'listening');
  return {
    port: (secure.address() as AddressInfo).port,
    shown,
    async close() {
      const closed = once(secure, 'close');
      secure.close();
      for (const session of sessions) session.destroy();
      behind.destroy();
      await closed;
    },
  };
}

test.each([
  ['an API key', () => ({ TEMPORAL_API_KEY: 'key-4711' }), () => ({ authorization: 'Bearer key-4711', certificate: undefined })],
  [
    'a client certificate',
    () => ({ TEMPORAL_TLS_CLIENT_CERT_PATH: tls.paths.cert, TEMPORAL_TLS_CLIENT_KEY_PATH: tls.paths.key }),
    () => ({ authorization: undefined, certificate: new X509Certificate(tls.pair.cert).fingerprint256 }),
  ],
])('over TLS with %s, the api starts a workflow and a worker runs it, and each request shows it', async (what, variables, shows) => {
  const address = `localhost:${front.port}`;
  const settings = { ...temporalSettings({ TEMPORAL_ADDRESS: address, TEMPORAL_TLS_SERVER_CA_CERT_PATH: tls.paths.ca, ...variables() }), address };
  const client = createClient(settings);
  const connection = await connectWorker(settings);
  const worker = await Worker.create({ connection, taskQueue: 'tls', workflowsPath: fileURLToPath(new URL('../helpers/trivial-workflows.ts', import.meta.url)) });

  const slept = await worker.runUntil(client.workflow.execute('sleepFor', { taskQueue: 'tls', workflowId: what, args: [1] }));

  await connection.close();
  await client.connection.close();
  expect(slept).toBe('woken');
  const methods = front.shown.map(({ method }) => method);
  for (const method of ['StartWorkflowExecution', 'PollWorkflowTaskQueue', 'RespondWorkflowTaskCompleted']) expect(methods).toContain(method);
  for (const { method, ...shown } of front.shown) expect(shown, method).toEqual(shows());
});

test('a server whose authority is not known is not spoken with', async () => {
  const address = `localhost:${front.port}`;
  const settings = { ...temporalSettings({ TEMPORAL_ADDRESS: address, TEMPORAL_API_KEY: 'key-4711' }), address };
  await expect(connectWorker(settings)).rejects.toThrow(/certificate/i);
  const client = createClient(settings);
  await expect(client.withDeadline(Date.now() + 30_000, () => client.workflowService.getSystemInfo({}))).rejects.toThrow(/certificate/i);
  await client.connection.close();
  expect(front.shown).toEqual([]);
});
