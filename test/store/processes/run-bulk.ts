/** Works on the bulk operations of the store given until it is killed; prints each registration that it has just moved past. */
import { openPostgres } from '../../../src/store/postgres.ts';
import { openSqlite } from '../../../src/store/sqlite.ts';
import { prepareStore } from '../../helpers/stores.ts';
import { bulkOf } from '../bulk.ts';

const [, , place = ''] = process.argv;
const bulk = bulkOf(await prepareStore(place.startsWith('postgres:') ? openPostgres(place) : openSqlite(place)));
const { advance } = bulk.operations;
bulk.runner({
  operations: {
    async advance(...args) {
      await advance(...args);
      process.stdout.write(`${args[2].cursor}\n`);
    },
  },
}).start();
setInterval(() => undefined, 60_000);
