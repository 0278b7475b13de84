import { type SqlBool, sql } from 'kysely';
import { newId } from '../domain/ids.ts';
import type { Channel, Message } from '../domain/message.ts';
import type { Database, Queryable } from './database.ts';
import { INSTALLATION_KEY, type Keyring } from './keyring.ts';
import type { Row } from './schema.ts';

/** Of those that are kept or have failed, the newest so many stay. */
const LEFT_OVER = 200;

/** A message that is to be sent now. */
export interface ClaimedMessage {
  id: string;
  message: Message;
  /** How often it could not be sent. */
  failures: number;
}

/** A message that was kept in place of being sent. */
export interface KeptMessage {
  id: string;
  message: Message;
  createdAt: number;
}

/** The outbox of mails and text messages. Times in milliseconds. */
export interface MessageStore {
  /**
   * Takes up to `limit` due messages of a channel. Nobody else gets them before `leaseMs` is over; a sender that dies
   * leaves them to the others then.
   */
  claimDue(options: { channel: Channel; limit: number; leaseMs: number }): Promise<ClaimedMessage[]>;
  /** Gives back what a dead process has claimed; only where no other process sends. */
  releaseClaims(): Promise<void>;
  /** They were sent, or nobody is to get them. */
  remove(ids: string[]): Promise<void>;
  /** Keeps them to be shown; of all kept ones the newest 200 stay. */
  keep(ids: string[]): Promise<void>;
  /** Tries it again after `delayMs`. @param error must tell nothing of the content. */
  backOff(options: { id: string; delayMs: number; error: string }): Promise<void>;
  /** It is not tried any more; of all failed ones the newest 200 stay. @param error must tell nothing of the content. */
  fail(id: string, error: string): Promise<void>;
  /** The newest first. */
  listKept(): Promise<KeptMessage[]>;
}

/**
 * Puts a message into the outbox, in the transaction that it belongs to; wake the sender once that has committed. It is
 * sent at least once: twice when a process dies between the sending and its mark.
 */
export async function writeMessage(tx: Queryable, keyring: Keyring, message: Message): Promise<void> {
  const id = newId();
  await tx.insertInto('message')
    .values({
      id,
      channel: message.channel,
      content_sealed: await keyring.sealJson(INSTALLATION_KEY, messageContext(id), message, tx),
      key_id: INSTALLATION_KEY,
      state: 'due',
      // Before those that wait for another try.
      due_at: 0,
      failures: 0,
      created_at: Date.now(),
    })
    .execute();
}

/** Opens the outbox for those who send and show. */
export function createMessageStore({ database, keyring }: { database: Database; keyring: Keyring }): MessageStore {
  const { db, now } = database;

  async function contentOf(row: Row<'message'>): Promise<Message> {
    return await keyring.openJson<Message>(row.key_id, messageContext(row.id), row.content_sealed);
  }

  async function settle(ids: string[], set: { state: 'kept' | 'failed'; error?: string }): Promise<void> {
    await database.transaction(async (tx) => {
      await tx.updateTable('message').set({ ...set, due_at: null, claimed_until: null }).where('id', 'in', ids).execute();
      const leftOver = tx.selectFrom('message').select('id').where(isLeftOver(set.state));
      await tx.deleteFrom('message').where(isLeftOver(set.state)).where('id', 'not in', leftOver.orderBy('id', 'desc').limit(LEFT_OVER)).execute();
    });
  }

  return {
    async claimDue({ channel, limit, leaseMs }) {
      const due = (from: Pick<Queryable, 'selectFrom'>) =>
        from.selectFrom('message')
          .select('id')
          .where('due_at', '<=', now)
          .where('channel', '=', channel)
          .where((eb) => eb.or([eb('claimed_until', 'is', null), eb('claimed_until', '<=', now)]))
          .orderBy('due_at')
          .orderBy('id')
          .limit(limit);
      // A look first: on SQLite an update takes the write lock, also when there is nothing to do, and it is asked each second.
      if ((await due(db).executeTakeFirst()) === undefined) return [];
      const rows = await db
        .with('chosen', (qb) => due(qb).forUpdate().skipLocked())
        .updateTable('message')
        .set((eb) => ({ claimed_until: eb(now, '+', leaseMs) }))
        .where('id', 'in', (eb) => eb.selectFrom('chosen').select('id'))
        .returningAll()
        .execute();
      return await Promise.all(rows.map(async (row) => ({ id: row.id, message: await contentOf(row), failures: row.failures })));
    },

    async releaseClaims() {
      await db.updateTable('message').set({ claimed_until: null }).where('due_at', 'is not', null).execute();
    },

    async remove(ids) {
      if (ids.length > 0) await db.deleteFrom('message').where('id', 'in', ids).execute();
    },

    async keep(ids) {
      if (ids.length > 0) await settle(ids, { state: 'kept' });
    },

    async backOff({ id, delayMs, error }) {
      await db.updateTable('message')
        .set((eb) => ({ due_at: eb(now, '+', delayMs), claimed_until: null, failures: eb('failures', '+', 1), error }))
        .where('id', '=', id)
        .where('state', '=', 'due')
        .execute();
    },

    async fail(id, error) {
      await settle([id], { state: 'failed', error });
    },

    async listKept() {
      const rows = await db.selectFrom('message').selectAll().where(isLeftOver('kept')).orderBy('id', 'desc').limit(LEFT_OVER).execute();
      return await Promise.all(rows.map(async (row) => ({ id: row.id, message: await contentOf(row), createdAt: row.created_at })));
    },
  };
}

/** With the condition of the index `message_left_over`: else they would be looked for among all that wait. */
function isLeftOver(state: 'kept' | 'failed') {
  return sql<SqlBool>`state = ${state} and due_at is null`;
}

/** Names what `content_sealed` holds, for sealing and opening. */
export function messageContext(id: string): string {
  return `message/${id}/content`;
}
