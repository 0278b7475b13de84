import type { Logger } from '../logger.ts';
import type { UserCreation } from '../registration/create-user.ts';
import type { PreUserRegistration } from '../registration/pre-user-registration.ts';
import { type Register, UserExistsError } from '../registration/register.ts';
import type { SandboxPool } from '../sandbox/pool.ts';
import { uniqueViolation } from '../store/database.ts';
import type { Metrics } from './metrics.ts';
import { currentRequest } from './request-context.ts';
import { traceIdField } from './trace-parent.ts';
import { recordCalls, type Tracing } from './tracing.ts';

/** What wraps the parts of a sign-up: they do their work as without it. */
interface Deps {
  metrics: Metrics;
  tracing: Tracing;
  logger: Logger;
}

/** Counts and times the sign-ups that ask Actions, and counts those that are refused before. */
export function watchUserCreation(userCreation: UserCreation, { metrics }: Pick<Deps, 'metrics'>): UserCreation {
  return {
    async create(input) {
      const end = metrics.signUpSeconds.startTimer({ source: input.source });
      const result = await userCreation.create(input);
      end();
      // Those that exist already are counted where they are found out: at the commit.
      if (result.outcome === 'refused' && result.refusal.kind !== 'user-exists') {
        metrics.signUps.inc({ source: input.source, result: result.refusal.kind === 'denied' ? 'denied' : 'action_failed' });
      }
      return result;
    },
    async logRefusal(input, description) {
      metrics.signUps.inc({ source: input.source, result: 'refused' });
      await userCreation.logRefusal(input, description);
    },
  };
}

/**
 * Counts what came of each commit, writes the registration's line of the log, and begins its trace: its span is below
 * that of the commit, whose `traceparent` is kept with it.
 */
export function watchRegister(register: Register, { metrics, tracing, logger, shownUserId }: Deps & { shownUserId(userId: string): string }): Register {
  return async (input) => {
    const { source } = input;
    const request = currentRequest();
    const parent = request?.traceParent ?? null;
    const self = tracing.begin(parent);
    const startedAt = Date.now();
    const end = metrics.commitSeconds.startTimer();
    const span = (error?: string): void =>
      tracing.record({ self, parent, name: 'commit registration', kind: 'internal', startedAt, endedAt: Date.now(), attributes: { 'usher.source': source }, ...(error === undefined ? {} : { error }) });
    try {
      const registered = await register({ ...input, traceParent: self });
      end();
      const { registrationId, outcome } = registered;
      metrics.signUps.inc({ source, result: 'created' });
      if (outcome === 'nothing-bound') metrics.registrationsClosed.inc({ outcome });
      span();
      logger.info(
        {
          registration_id: registrationId,
          source,
          user_id: shownUserId(input.userId),
          connection: input.connection.name,
          client_id: input.clientId,
          outcome,
          ...(request === undefined ? {} : { request_id: request.requestId }),
          ...traceIdField(self),
        },
        'registration',
      );
      return registered;
    } catch (error) {
      const result = error instanceof UserExistsError || uniqueViolation(error) !== undefined ? 'exists' : 'error';
      metrics.signUps.inc({ source, result });
      span(result);
      throw error;
    }
  };
}

const VERDICTS = { succeeded: 'allowed', denied: 'denied', failed: 'failed', 'not-run': 'not_run' } as const;

/** Times each pre-user-registration Action by what it said. */
export function watchPreUserRegistration(preUserRegistration: PreUserRegistration, { metrics }: Pick<Deps, 'metrics'>): PreUserRegistration {
  return async (event, metadata) => {
    const verdict = await preUserRegistration(event, metadata);
    for (const { actionName, outcome, startedAt, endedAt } of verdict.execution?.results ?? []) {
      metrics.preRegistrationSeconds.observe({ action: metrics.preAction(actionName), verdict: VERDICTS[outcome] }, Math.max(0, endedAt - startedAt) / 1000);
    }
    return verdict;
  };
}

/** Gives each pre-user-registration Action a span below its request's, with its outgoing requests. */
export function traceSandbox(sandbox: Pick<SandboxPool, 'run'>, tracing: Tracing): Pick<SandboxPool, 'run'> {
  return {
    async run(invocation, options) {
      const parent = currentRequest()?.traceParent ?? null;
      const self = tracing.begin(parent);
      const startedAt = Date.now();
      const result = await sandbox.run({ ...invocation, traceParent: self }, options);
      const { version } = invocation;
      tracing.record({
        self,
        parent,
        name: `Action ${version.actionName}`,
        kind: 'internal',
        startedAt,
        endedAt: Date.now(),
        attributes: { 'usher.trigger': version.triggerId, 'usher.action': version.actionName, 'usher.version_id': version.id, 'usher.outcome': result.outcome },
        ...(result.outcome === 'succeeded' ? {} : { error: result.outcome === 'failed' ? result.error.type : result.outcome }),
      });
      if ('calls' in result) recordCalls(tracing, self, result.calls);
      return result;
    },
  };
}
