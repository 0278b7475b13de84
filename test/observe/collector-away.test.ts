import { Writable } from 'node:stream';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { NO_TRACING, startTracing } from '../../src/observe/tracing.ts';

test('a collector that is away holds nothing up, and the log says that traces are dropped', async () => {
  const logged: string[] = [];
  const logger = pino(new Writable({ write: (line, _, done) => (logged.push(String(line)), done()) }));
  const tracing = await startTracing({ endpoint: 'http://127.0.0.1:1', service: 'usher-api', version: 'test', logger });
  const self = tracing.begin(null);
  tracing.record({ self, parent: null, name: 'a span', kind: 'internal', startedAt: Date.now(), endedAt: Date.now(), attributes: {} });
  await tracing.close();
  expect(logged.join('')).toMatch(/did not take the last ones within 3 s.*traces could not be sent/);
});

test('without an endpoint, traces are off', async () => {
  const tracing = await startTracing({ endpoint: null, service: 'usher-api', version: 'test', logger: pino({ level: 'silent' }) });
  expect(tracing).toBe(NO_TRACING);
  expect(tracing.begin('00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01')).toBeNull();
});
