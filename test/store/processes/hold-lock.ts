/** Takes the lock whose path is given, says so, and keeps it until it is killed. */
import { acquireLock } from '../../../src/store/lock.ts';

acquireLock(process.argv[2]!);
console.log('locked');
setInterval(() => undefined, 60_000);
