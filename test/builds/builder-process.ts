import { pino } from 'pino';
import { createBuilder } from '../../src/builds/builder.ts';
import { openStore } from './open-store.ts';

/** A builder in a process of its own, to be killed: `node builder-process.ts <store> <data directory>`. */
const [store, dataDir] = process.argv.slice(2);
await createBuilder({ database: openStore(store!), dataDir: dataDir!, logger: pino({ level: 'silent' }), alone: false }).start();
