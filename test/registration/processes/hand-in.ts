/** Hands in one registration `times` times at once with one key on the store given, once a line comes in; prints each answer's id. */
import { once } from 'node:events';
import { createHandIn, type HandInRegistration } from '../../../src/registration/outside.ts';
import { openPostgres } from '../../../src/store/postgres.ts';
import { openSqlite } from '../../../src/store/sqlite.ts';
import { openFor, prepareStore } from '../../helpers/stores.ts';
import { outsideEvent } from '../outside-event.ts';

const [, , place = '', key = '', times = ''] = process.argv;
const all: HandInRegistration[] = [];
const databases = await openFor(Number(times), () => (place.startsWith('postgres:') ? openPostgres(place) : openSqlite(place)));
for (const database of databases) all.push(createHandIn(await prepareStore(database)));
process.stdout.write('ready\n');
await once(process.stdin, 'data');
process.stdin.destroy();
const answers = Array.from({ length: Number(times) }, (_, index) => all[index % all.length]!({ clientId: 'client1', idempotencyKey: key, event: outsideEvent() }));
for (const { registrationId } of await Promise.all(answers)) process.stdout.write(`${registrationId}\n`);
await Promise.all(databases.map((database) => database.close()));
