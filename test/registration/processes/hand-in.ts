/** Hands in one registration `times` times at once with one key on the store given, once a line comes in; prints each answer's id. */
import { once } from 'node:events';
import { createHandIn } from '../../../src/registration/outside.ts';
import { openPostgres } from '../../../src/store/postgres.ts';
import { openSqlite } from '../../../src/store/sqlite.ts';
import { prepareStore } from '../../helpers/stores.ts';
import { outsideEvent } from '../outside-event.ts';

const [, , place = '', key = '', times = ''] = process.argv;
const database = place.startsWith('postgres:') ? openPostgres(place) : openSqlite(place);
const { register } = await prepareStore(database);
const handIn = createHandIn({ database, register });
process.stdout.write('ready\n');
await once(process.stdin, 'data');
process.stdin.destroy();
const answers = Array.from({ length: Number(times) }, () => handIn({ clientId: 'client1', idempotencyKey: key, event: outsideEvent() }));
for (const { registrationId } of await Promise.all(answers)) process.stdout.write(`${registrationId}\n`);
await database.close();
