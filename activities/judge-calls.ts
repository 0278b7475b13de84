import { callFails, type InvocationResult } from '../src/domain/invocation.ts';
import type { StepPolicy } from '../src/domain/policy.ts';

/** How the code of an Action ended that was run. */
export type Ran = Extract<InvocationResult, { outcome: 'succeeded' | 'failed' }>;

/**
 * Fails an attempt that ended well, but with calls that the binding does not take for success. An Action that failed
 * by itself keeps its own error.
 */
export function judgeCalls(result: Ran, { failOnHttp }: Pick<StepPolicy, 'failOnHttp'>): Ran {
  if (result.outcome === 'failed' || failOnHttp === 'off') return result;
  const failed = result.calls.filter((call) => callFails(call, failOnHttp));
  const last = failed.at(-1);
  if (last === undefined) return result;
  const answer = last.status === undefined ? `was not answered (${last.error})` : `was answered ${last.status}`;
  const more = failed.length > 1 ? `, and ${failed.length - 1} more failed` : '';
  return {
    ...result,
    outcome: 'failed',
    error: {
      type: 'HTTP_CALL_FAILED',
      name: 'HttpCallFailed',
      message: `${last.method} ${last.host} ${answer}${more}. The Action itself ended well; its binding has fail_on_http: ${failOnHttp}.`,
      retryable: true,
    },
  };
}
