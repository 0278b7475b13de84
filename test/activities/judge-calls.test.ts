import { describe, expect, test } from 'vitest';
import { describeFailure } from '../../activities/failures.ts';
import { judgeCalls, type Ran } from '../../activities/judge-calls.ts';
import type { OutgoingCall } from '../../src/domain/invocation.ts';

function endedWell(...calls: Partial<OutgoingCall>[]): Ran {
  return {
    outcome: 'succeeded',
    startedAt: 0,
    durationMs: 1,
    logs: [],
    logsTruncated: false,
    calls: calls.map((call) => ({ method: 'POST', host: 'crm.example', startedAt: 0, durationMs: 1, ...call })),
    cacheChanges: [{ kind: 'delete', key: 'token' }],
    commands: [],
  };
}

const REFUSED = { status: 404, host: 'search.example' };
const BROKEN = { status: 502 };
const SILENT = { error: 'ECONNRESET' };

describe('an attempt that ended well', () => {
  test.each([
    ['off', [REFUSED, BROKEN, SILENT], 'succeeded'],
    ['5xx', [{ status: 200 }, { status: 302 }, REFUSED], 'succeeded'],
    ['5xx', [BROKEN], 'failed'],
    ['5xx', [SILENT], 'failed'],
    ['4xx+5xx', [{ status: 200 }, { status: 302 }], 'succeeded'],
    ['4xx+5xx', [REFUSED], 'failed'],
    ['4xx+5xx', [SILENT], 'failed'],
    ['4xx+5xx', [], 'succeeded'],
  ] as const)('by the rule %s, with the calls %o, has %s', (failOnHttp, calls, outcome) => {
    const result = endedWell(...calls);
    expect(judgeCalls(result, { failOnHttp })).toMatchObject({ ...result, outcome });
  });

  test('is said to have failed by the call that the rule is about, in the ledger and in the history', () => {
    const rule = { failOnHttp: '5xx' } as const;
    const result = judgeCalls(endedWell(SILENT, BROKEN, REFUSED), rule);
    if (result.outcome !== 'failed') throw new Error('expected to have failed');
    expect(result.error).toMatchObject({
      type: 'HTTP_CALL_FAILED',
      message: 'POST crm.example was answered 502, and 1 more failed. The Action itself ended well; its binding has fail_on_http: 5xx.',
      retryable: true,
    });
    expect(describeFailure(result.error, result.calls, rule)).toBe('HTTP_CALL_FAILED: crm.example answered 502');
    expect(describeFailure({ ...result.error, type: 'ACTION_THREW' }, result.calls, rule)).toBe('ACTION_THREW: search.example answered 404');
  });
});
