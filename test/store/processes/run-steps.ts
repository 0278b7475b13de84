/**
 * A worker without Temporal: claims whatever step is open and not held on the store given, holds it for a moment and ends
 * it well, until no step is open. Prints the most attempts that it has seen alive at once, right after a claim of its own.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { openPostgres } from '../../../src/store/postgres.ts';
import { openSqlite } from '../../../src/store/sqlite.ts';
import { prepareStore } from '../../helpers/stores.ts';
import { endOf } from '../steps.ts';

const [, , place = '', workerId = ''] = process.argv;
const database = place.startsWith('postgres:') ? openPostgres(place) : openSqlite(place);
const { ledger } = await prepareStore(database);
let most = 0;

async function worker(): Promise<void> {
  for (;;) {
    const open = await database.db.selectFrom('step').select(['id', 'registration_id', 'held_reason']).where('state', 'in', ['pending', 'parked']).execute();
    if (open.length === 0) return;
    const free = open.filter((step) => step.held_reason === null);
    const step = free[Math.floor(Math.random() * free.length)];
    const claim = step && (await ledger.claimStep({ registrationId: step.registration_id, stepId: step.id, phase: 'quick', workerId, leaseMs: 30_000 }));
    if (claim?.claim === 'claimed') {
      const { alive } = await database.db.selectFrom('attempt').select((eb) => eb.fn.countAll<number>().as('alive')).where('ended_at', 'is', null).executeTakeFirstOrThrow();
      most = Math.max(most, alive);
      await sleep(Math.random() * 10);
      await ledger.settleAttempt(endOf(claim.step));
    } else await sleep(2);
  }
}

await Promise.all([worker(), worker(), worker()]);
console.log(most);
await database.close();
