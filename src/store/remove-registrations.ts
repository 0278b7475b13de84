import type { Queryable } from './database.ts';

/**
 * Removes registrations whole: steps, attempts, executions, log entries, idempotency keys, and the data keys, without
 * which what a backup still has of them cannot be read. The caller has locked their rows.
 */
export async function removeRegistrations(tx: Queryable, ids: string[]): Promise<void> {
  if (ids.length === 0) return;
  const ofRegistration = (table: 'step' | 'execution' | 'handed_in') => tx.deleteFrom(table).where('registration_id', 'in', ids).execute();

  const rows = await tx.selectFrom('registration').select(['key_id', 'user_id']).where('id', 'in', ids).execute();
  await tx.deleteFrom('attempt').where('step_id', 'in', tx.selectFrom('step').select('id').where('registration_id', 'in', ids)).execute();
  await ofRegistration('step');
  await ofRegistration('execution');
  await ofRegistration('handed_in');
  // By the index of `user_id`; entries of other registrations of the same user stay.
  await tx.deleteFrom('log').where('user_id', 'in', rows.map((row) => row.user_id)).where('registration_id', 'in', ids).execute();
  await tx.deleteFrom('registration').where('id', 'in', ids).execute();
  await tx.deleteFrom('data_key').where('id', 'in', rows.map((row) => row.key_id)).execute();
}
