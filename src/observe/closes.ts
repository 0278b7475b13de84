import type { Database } from '../store/database.ts';
import type { Ledger } from '../store/ledger.ts';
import type { RegistrationResult } from '../../workflows/messages.ts';
import type { Metrics } from './metrics.ts';
import { registrationTraceParent } from './trace-parent.ts';
import type { Tracing } from './tracing.ts';

/** Counts the closings of registrations, and records the span of each: from its commit to its close. */
export function watchCloses(ledger: Ledger, { database, metrics, tracing }: { database: Database; metrics: Metrics; tracing: Tracing }): Ledger {
  async function closed(registrationId: string, outcome: RegistrationResult['outcome']): Promise<void> {
    metrics.registrationsClosed.inc({ outcome });
    if (!tracing.isOn) return;
    const row = await database.db.selectFrom('registration').select(['trace_parent', 'created_at', 'source']).where('id', '=', registrationId).executeTakeFirst();
    if (row?.trace_parent == null) return;
    tracing.record({
      self: registrationTraceParent(row.trace_parent),
      parent: row.trace_parent,
      name: 'registration',
      kind: 'internal',
      startedAt: row.created_at,
      endedAt: Date.now(),
      attributes: { 'usher.registration_id': registrationId, 'usher.source': row.source, 'usher.outcome': outcome },
      ...(outcome === 'failed' ? { error: 'ActionsFailed' } : {}),
    });
  }

  return {
    ...ledger,
    async closeRegistration(registrationId) {
      const close = await ledger.closeRegistration(registrationId);
      if (close.closed) await closed(registrationId, close.result.outcome);
      return close;
    },
    async cancelRegistration(registrationId) {
      const result = await ledger.cancelRegistration(registrationId);
      await closed(registrationId, result.outcome);
      return result;
    },
    async recordCancelledByOperator(registrationId, endedAt) {
      const recorded = await ledger.recordCancelledByOperator(registrationId, endedAt);
      if (recorded) await closed(registrationId, 'cancelled');
      return recorded;
    },
  };
}
