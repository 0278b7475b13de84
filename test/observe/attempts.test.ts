import { pino } from 'pino';
import { expect, test } from 'vitest';
import { createShownUserId } from '../../src/domain/shown-user-id.ts';
import { createWatchAttempt, createWatchLost } from '../../src/observe/attempts.ts';
import { createMetrics } from '../../src/observe/metrics.ts';
import { NO_TRACING } from '../../src/observe/tracing.ts';
import type { ClaimedStep } from '../../src/store/ledger.ts';

test.each([
  ['auth0|0123456789abcdef', 'auth0|0123456789abcdef'],
  ['samlp|acme|ann@example.com', `hidden-${'ab'.repeat(8)}`],
])('the line of an attempt shows the user %s as %s', (userId, shown) => {
  const lines: { user_id?: string }[] = [];
  const logger = pino({}, { write: (line: string) => void lines.push(JSON.parse(line) as object) });
  const watch = createWatchAttempt({ metrics: createMetrics({ role: 'worker', version: 'test' }), tracing: NO_TRACING, logger, shownUserId: createShownUserId({ mac: () => 'ab'.repeat(32) }) });
  const step = { registrationId: 'r', stepId: 's', userId, connectionName: 'acme', actionId: 'a', actionName: 'Notify', versionNumber: 1, traceParent: null, attempt: { id: 'x', number: 1 } } as ClaimedStep;
  watch(step, 'quick').ended({ outcome: 'lost', reason: 'its lease was lost' });
  expect(lines).toMatchObject([{ msg: 'attempt', user_id: shown }]);
});

test('an attempt that was lost with its worker has its line and is counted', async () => {
  const lines: object[] = [];
  const logger = pino({}, { write: (line: string) => void lines.push(JSON.parse(line) as object) });
  const metrics = createMetrics({ role: 'worker', version: 'test' });
  const watch = createWatchLost({ metrics, logger, shownUserId: (userId) => userId });
  watch([{ registrationId: 'r', stepId: 's', userId: 'auth0|1', connectionName: 'acme', actionId: 'a', actionName: 'Notify', versionNumber: 1, attempt: { id: 'x', number: 2, phase: 'long' } }]);
  expect(lines).toMatchObject([{ msg: 'attempt', registration_id: 'r', action: 'Notify', attempt: 2, phase: 'long', outcome: 'lost' }]);
  expect((await metrics.attempts.get()).values).toContainEqual({ labels: { action: 'Notify', outcome: 'lost' }, value: 1 });
});
