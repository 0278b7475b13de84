import type { DueRegistration } from '../store/outbox.ts';
import type { RegistrationStarter } from '../temporal/registration-starter.ts';
import type { Metrics } from './metrics.ts';
import { registrationTraceParent } from './trace-parent.ts';
import type { Tracing } from './tracing.ts';

/** What the dispatcher knows of a registration that it hands over. */
type Due = Pick<DueRegistration, 'registrationId' | 'userId' | 'connectionName' | 'traceParent'>;

/** Counts the hand-overs to Temporal, and gives each a span in its registration's trace. */
export function watchStarter(starter: RegistrationStarter, { metrics, tracing }: { metrics: Metrics; tracing: Tracing }): Omit<RegistrationStarter, 'start'> & { start(due: Due): Promise<void> } {
  return {
    ...starter,
    async start(due) {
      const parent = due.traceParent === null ? null : registrationTraceParent(due.traceParent);
      // One that was committed without a trace has nothing to add to.
      const self = parent === null ? null : tracing.begin(parent);
      const startedAt = Date.now();
      const end = (result: 'handed_over' | 'unreachable' | 'refused'): void => {
        metrics.handOvers.inc({ result });
        tracing.record({
          self,
          parent,
          name: 'hand over to Temporal',
          kind: 'producer',
          startedAt,
          endedAt: Date.now(),
          attributes: { 'usher.registration_id': due.registrationId },
          ...(result === 'handed_over' ? {} : { error: result }),
        });
      };
      try {
        await starter.start(due);
      } catch (error) {
        end(starter.isUnreachable(error) ? 'unreachable' : 'refused');
        throw error;
      }
      end('handed_over');
    },
  };
}
