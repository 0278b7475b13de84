/** Signs up `count` users of an address prefix on the store given, one after the other; prints each registration's id once it is committed. */
import { openPostgres } from '../../../src/store/postgres.ts';
import { openSqlite } from '../../../src/store/sqlite.ts';
import { prepareStore, signUpOf } from '../../helpers/stores.ts';

const [, , place = '', prefix = '', count = ''] = process.argv;
const database = place.startsWith('postgres:') ? openPostgres(place) : openSqlite(place);
const usher = await prepareStore(database);
for (let index = 0; index < Number(count); index++) {
  const { registrationId } = await usher.register(signUpOf(`${prefix}-${index}@example.com`));
  // Synchronous on a pipe, so that what is printed is what was committed at the moment of a kill.
  process.stdout.write(`${registrationId}\n`);
}
await database.close();
