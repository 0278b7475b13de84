import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll } from 'vitest';
import type { Invocation, InvocationResult, RunnableVersion } from '../../src/domain/invocation.ts';
import { createLogger } from '../../src/logger.ts';
import { createSandboxPool, type RunOptions, type SandboxPool, type SandboxPoolOptions } from '../../src/sandbox/pool.ts';

export const silent = createLogger({ level: 'silent', role: 'test' });

/** A pool with loopback open, closed after the file's tests. */
export async function testPool(options: Partial<SandboxPoolOptions> = {}): Promise<SandboxPool> {
  const pool = await createSandboxPool({ slots: 2, egress: { allow: [], loopbackOpen: true }, logger: silent, ...options });
  afterAll(() => pool.close({ graceMs: 0 }));
  return pool;
}

type Overrides = Partial<Omit<Invocation, 'version'>> & { version?: Partial<RunnableVersion> } & RunOptions;

let versions = 0;

/** An Action version of its own, so that no test meets another's warm process. */
export function version(code: string, overrides: Partial<RunnableVersion> = {}): RunnableVersion {
  return { id: `version-${++versions}`, actionName: 'Test Action', triggerId: 'post-user-registration', code, dependenciesDir: null, ...overrides };
}

export function invocation(of: RunnableVersion, overrides: Partial<Omit<Invocation, 'version'>> = {}): Invocation {
  return { version: of, id: 'attempt-1', event: { secrets: {} }, cache: {}, timeoutMs: 10_000, waitFor: 'work', ...overrides };
}

/** Runs the body of a handler, once, in a process of its own. */
export function runBody(pool: SandboxPool, body: string, overrides: Overrides = {}): Promise<InvocationResult> {
  const { version: versionOverrides, signal, onLateOutput, ...rest } = overrides;
  const trigger = versionOverrides?.triggerId ?? 'post-user-registration';
  const of = version(handler(body, trigger), versionOverrides);
  return pool.run(invocation(of, rest), { ...(signal && { signal }), ...(onLateOutput && { onLateOutput }) });
}

export function handler(body: string, trigger = 'post-user-registration'): string {
  const name = trigger === 'pre-user-registration' ? 'onExecutePreUserRegistration' : 'onExecutePostUserRegistration';
  return `exports.${name} = async (event, api) => {\n${body}\n};`;
}

export function ended<T extends InvocationResult['outcome']>(result: InvocationResult, outcome: T): Extract<InvocationResult, { outcome: T }> {
  if (result.outcome !== outcome) throw new Error(`expected ${outcome}, not ${JSON.stringify(result)}`);
  return result as Extract<InvocationResult, { outcome: T }>;
}

/**
 * Put into an Action's code, it writes a line whenever an attempt is over because nothing was left to do. None comes when
 * left-over work has had its 2 s.
 */
export const TELL_END = `process.on('beforeExit', () => console.log('nothing was left'));`;

/** Makes a call of an Action with `TELL_END`, which must succeed, and waits for its line, which comes after the verdict. */
export async function runToEnd(run: (options: RunOptions) => Promise<InvocationResult>): Promise<Extract<InvocationResult, { outcome: 'succeeded' }>> {
  const late: string[] = [];
  const result = ended(await run({ onLateOutput: ({ text }) => late.push(text) }), 'succeeded');
  await until('the attempt to be over because nothing was left', () => late.includes('nothing was left'));
  return result;
}

export const texts = (result: InvocationResult): string[] => ('logs' in result ? result.logs.map(({ text }) => text) : []);

export interface ReceivedRequest {
  method: string;
  url: string;
  headers: http.IncomingHttpHeaders;
  body: string;
}

export interface Receiver {
  url: string;
  port: number;
  requests: ReceivedRequest[];
  connections(): number;
}

type Answer = (request: ReceivedRequest, response: http.ServerResponse, number: number) => void;

/** A web server on loopback, closed after the file's tests. */
export async function receiver(answer: Answer): Promise<Receiver> {
  const requests: ReceivedRequest[] = [];
  let connections = 0;
  const server = http.createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => (body += text));
    request.on('end', () => {
      const received = { method: request.method ?? '', url: request.url ?? '', headers: request.headers, body };
      requests.push(received);
      answer(received, response, requests.length);
    });
  });
  // Else it would close a connection that a busy machine leaves alone for 5 s.
  server.keepAliveTimeout = 60_000;
  server.on('connection', () => connections++);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, port, requests, connections: () => connections };
}

/** Polls until the condition holds; fails after 30 s. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  const end = Date.now() + 30_000;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`not within 30 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};
