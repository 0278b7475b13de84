/** Works on the bulk operations of the store given; kills itself just before it commits the n-th registration that it moves past. */
import { openPostgres } from '../../../src/store/postgres.ts';
import { openSqlite } from '../../../src/store/sqlite.ts';
import { prepareStore } from '../../helpers/stores.ts';
import { bulkOf } from '../bulk.ts';

const [, , place = '', last] = process.argv;
const bulk = bulkOf(await prepareStore(place.startsWith('postgres:') ? openPostgres(place) : openSqlite(place)));
const { advance } = bulk.operations;
let passed = 0;
bulk.runner({
  operations: {
    async advance(...args) {
      await advance(...args);
      if (++passed === Number(last)) process.kill(process.pid, 'SIGKILL');
    },
  },
}).start();
setInterval(() => undefined, 60_000);
