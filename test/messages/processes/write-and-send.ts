/** Commits mails one after the other on the store given and sends them; prints each address once its mail is committed. */
import { pino } from 'pino';
import { createSender } from '../../../src/messages/sender.ts';
import { createSmtpTransport } from '../../../src/messages/smtp.ts';
import { createMessageStore, writeMessage } from '../../../src/store/messages.ts';
import { openPostgres } from '../../../src/store/postgres.ts';
import { openSqlite } from '../../../src/store/sqlite.ts';
import { prepareStore } from '../../helpers/stores.ts';
import { mailTo } from '../mail.ts';

const [, , place = '', url = '', prefix = ''] = process.argv;
const database = place.startsWith('postgres:') ? openPostgres(place) : openSqlite(place);
const { keyring } = await prepareStore(database);
const sender = createSender({
  channel: 'email',
  transport: createSmtpTransport({ url, from: 'usher@example.com' }),
  messages: createMessageStore({ database, keyring }),
  alone: false,
  logger: pino({ level: 'silent' }),
});
await sender.start();
for (let index = 0; ; index++) {
  const to = `${prefix}-${index}@example.com`;
  await database.transaction((tx) => writeMessage(tx, keyring, mailTo(to)));
  sender.wake();
  // Synchronous on a pipe, so that what is printed is what was committed at the moment of a kill.
  process.stdout.write(`${to}\n`);
}
