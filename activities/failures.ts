import { ApplicationFailure } from '@temporalio/common';
import { UnknownIdError } from '../src/store/ledger.ts';
import { type ActionError, callFails, type OutgoingCall } from '../src/domain/invocation.ts';
import type { StepPolicy } from '../src/domain/policy.ts';

/** What a history may say about a failed attempt: one line without anything that the Action or the person wrote. */
export function describeFailure(error: ActionError, calls: OutgoingCall[], { failOnHttp }: Pick<StepPolicy, 'failOnHttp'>): string {
  const blamed = error.type === 'HTTP_CALL_FAILED' && failOnHttp !== 'off' ? failOnHttp : '4xx+5xx';
  const call = calls.findLast((each) => callFails(each, blamed));
  if (call === undefined) return error.type;
  const answer = call.status === undefined ? `did not answer (${call.error})` : `answered ${call.status}`;
  return `${error.type}: ${call.host} ${answer}`;
}

/**
 * A store that does not know the registration never will: asking again for ever would only hide that it was restored
 * from an older backup, or that two installations share a namespace. Any other error is passed on.
 */
export function endIfUnknown(error: unknown): unknown {
  if (!(error instanceof UnknownIdError)) return error;
  return ApplicationFailure.nonRetryable(error.message, 'UNKNOWN_REGISTRATION');
}

/**
 * The only place that makes a failure of an Action into Temporal's form: it counts, and Temporal tries again after
 * the delay that the ledger has decided.
 */
export function actionFailed(options: { type: string; message: string; attemptId: string; delayMs: number }): ApplicationFailure {
  const failure = ApplicationFailure.create({
    type: options.type,
    message: options.message,
    nextRetryDelay: options.delayMs,
    details: [{ attemptId: options.attemptId }],
    // Expected, and counted in the ledger: not an error of the worker.
    category: 'BENIGN',
  });
  // The worker's own frames say nothing about the Action.
  failure.stack = '';
  return failure;
}
