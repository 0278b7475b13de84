import { z } from 'zod';
import { managementError } from '../../domain/api-error.ts';
import { horizonMs, type RetryPhase, type StepPolicy } from '../../domain/policy.ts';

/*
 * The policy of a binding on the wire: what stands under its `usher` in requests and answers. docs/policies.md tells
 * what each setting means.
 */

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** What a step may wait for its long retries altogether. */
const MAX_HORIZON_MS = 30 * DAY;

/** A header that means something else to whoever reads the request. */
const TAKEN_HEADERS = new Set([
  'accept', 'authorization', 'connection', 'content-encoding', 'content-length', 'content-type', 'cookie', 'expect', 'host',
  'keep-alive', 'origin', 'proxy-authorization', 'range', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'user-agent',
]);

const FACTOR = z.number().min(1).max(10).describe('Each delay is the one before it times this.');

const QUICK = z.strictObject({
  attempts: z.int().min(1).max(100).describe('The first one included.'),
  first_delay_ms: z.int().min(100).max(HOUR),
  factor: FACTOR,
  max_delay_ms: z.int().min(100).max(HOUR),
  budget_ms: z.int().min(SECOND).max(HOUR).describe('A quick retry is made only when it would end within this even if it took `timeout_ms`.'),
});

const LONG = z.strictObject({
  attempts: z.int().min(0).max(1000).describe('0: it has failed for good when the quick ones have.'),
  first_delay_ms: z.int().min(SECOND).max(DAY),
  factor: FACTOR,
  max_delay_ms: z.int().min(SECOND).max(DAY),
});

const SETTINGS = {
  timeout_ms: z.int().min(SECOND).max(10 * MINUTE).describe('Of one attempt.'),
  on_failure: z.enum(['continue', 'wait']).describe('wait: the Actions after it run only when it has succeeded.'),
  concurrency: z.int().min(1).max(1000).nullable().describe('Attempts of this Action at once, over all workers; null: no limit of its own.'),
  fail_on_http: z.enum(['off', '5xx', '4xx+5xx']).describe('A call that was answered so, or never, fails an attempt that otherwise ended well.'),
  idempotency_header: z
    .string()
    .regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/)
    .describe('off, or the header with which the outgoing requests are numbered: `<idempotency key>-<n>`.'),
};

/** A policy, whole. */
export const POLICY = z.strictObject({ retry: z.strictObject({ quick: QUICK, long: LONG }), ...SETTINGS });

/** Wishes for a policy: what is left out stays, or has its default. */
export const POLICY_CHANGE = z
  .strictObject({ retry: z.strictObject({ quick: QUICK.partial(), long: LONG.partial() }).partial(), ...SETTINGS })
  .partial();

type PolicyChange = z.output<typeof POLICY_CHANGE>;
type PhaseChange = NonNullable<PolicyChange['retry']>['long'];

/** A policy as the API shows it. */
export function policyAnswer({ quick, long, timeoutMs, onFailure, concurrency, failOnHttp, idempotencyHeader }: StepPolicy): z.input<typeof POLICY> {
  return {
    retry: { quick: { ...phaseAnswer(quick), budget_ms: quick.budgetMs }, long: phaseAnswer(long) },
    timeout_ms: timeoutMs,
    on_failure: onFailure,
    concurrency,
    fail_on_http: failOnHttp,
    idempotency_header: idempotencyHeader ?? 'off',
  };
}

function phaseAnswer({ attempts, firstDelayMs, factor, maxDelayMs }: RetryPhase) {
  return { attempts, first_delay_ms: firstDelayMs, factor, max_delay_ms: maxDelayMs };
}

/**
 * The policy with the wishes.
 *
 * @param where names the binding in errors, such as `bindings[0]`.
 * @throws {ApiError} 400 when its settings contradict each other.
 */
export function changedPolicy(policy: StepPolicy, change: PolicyChange, where: string): StepPolicy {
  const { retry: { quick, long } = {}, idempotency_header: header } = change;
  const changed: StepPolicy = {
    ...policy,
    quick: { ...changedPhase(policy.quick, quick), budgetMs: quick?.budget_ms ?? policy.quick.budgetMs },
    long: changedPhase(policy.long, long),
    timeoutMs: change.timeout_ms ?? policy.timeoutMs,
    onFailure: change.on_failure ?? policy.onFailure,
    concurrency: change.concurrency === undefined ? policy.concurrency : change.concurrency,
    failOnHttp: change.fail_on_http ?? policy.failOnHttp,
    idempotencyHeader: header === undefined ? policy.idempotencyHeader : nameOf(header),
  };
  const problem = contradictionIn(changed);
  if (problem !== null) throw managementError(400, `Payload validation error: '${problem}' on property ${where}.usher.`, 'invalid_body');
  return changed;
}

function nameOf(header: string): string | null {
  return header.toLowerCase() === 'off' ? null : header;
}

function changedPhase(phase: RetryPhase, change: PhaseChange): RetryPhase {
  return {
    attempts: change?.attempts ?? phase.attempts,
    firstDelayMs: change?.first_delay_ms ?? phase.firstDelayMs,
    factor: change?.factor ?? phase.factor,
    maxDelayMs: change?.max_delay_ms ?? phase.maxDelayMs,
  };
}

/** Says what cannot hold at the same time; null when everything can. */
function contradictionIn({ quick, long, idempotencyHeader }: StepPolicy): string | null {
  for (const [name, { firstDelayMs, maxDelayMs }] of Object.entries({ quick, long })) {
    if (maxDelayMs < firstDelayMs) return `retry.${name}.max_delay_ms (${maxDelayMs}) must not be less than its first_delay_ms (${firstDelayMs})`;
  }
  if (quick.attempts > 1 && quick.budgetMs <= quick.firstDelayMs) {
    return `retry.quick.budget_ms (${quick.budgetMs}) leaves no room for a retry after first_delay_ms (${quick.firstDelayMs}): raise it, or set attempts to 1`;
  }
  const horizon = horizonMs(long);
  if (horizon > MAX_HORIZON_MS) {
    return `retry.long would go on for ${(horizon / DAY).toFixed(1)} days, and may for ${MAX_HORIZON_MS / DAY}: lower attempts or max_delay_ms`;
  }
  if (idempotencyHeader !== null && TAKEN_HEADERS.has(idempotencyHeader.toLowerCase())) {
    return `idempotency_header (${idempotencyHeader}) has a meaning of its own: name another one, such as Idempotency-Key`;
  }
  return null;
}
