import { createHash, randomBytes } from 'node:crypto';
import type { Database, Queryable } from './database.ts';
import type { Row } from './schema.ts';

export type TicketKind = Row<'ticket'>['kind'];

/** What the link of a mail stands for. */
export interface NewTicket {
  kind: TicketKind;
  userId: string;
  /** The address that using it verifies; null: none. */
  email: string | null;
  clientId: string | null;
  /** Where the person is sent afterwards. */
  resultUrl: string | null;
  lifetimeMs: number;
}

export interface Ticket {
  kind: TicketKind;
  userId: string;
  email: string | null;
  clientId: string | null;
  resultUrl: string | null;
}

/** The links of mails; only hashes of their tokens are kept. */
export interface TicketStore {
  /** @returns the token. */
  create(tx: Queryable, ticket: NewTicket): Promise<string>;
  /** The ticket of a token; null when there is none, or it has ended. */
  find(kind: TicketKind, token: string): Promise<Ticket | null>;
  /** Uses a ticket up, and with it all others of its kind that the user has. @returns false when somebody else has. */
  spend(tx: Queryable, kind: TicketKind, token: string): Promise<boolean>;
  /** Ends all of a kind that a user has. */
  remove(tx: Queryable, kind: TicketKind, userId: string): Promise<void>;
}

export function createTicketStore({ database }: { database: Database }): TicketStore {
  const { db, now } = database;

  async function remove(tx: Queryable, kind: TicketKind, userId: string): Promise<void> {
    await tx.deleteFrom('ticket').where('user_id', '=', userId).where('kind', '=', kind).execute();
  }

  return {
    remove,

    async create(tx, ticket) {
      const token = randomBytes(32).toString('base64url');
      await tx.insertInto('ticket')
        .values((eb) => ({
          token_hash: hashOf(token),
          kind: ticket.kind,
          user_id: ticket.userId,
          email: ticket.email,
          client_id: ticket.clientId,
          result_url: ticket.resultUrl,
          created_at: Date.now(),
          expires_at: eb(now, '+', ticket.lifetimeMs),
        }))
        .execute();
      return token;
    },

    async find(kind, token) {
      const row = await db.selectFrom('ticket').selectAll()
        .where('token_hash', '=', hashOf(token))
        .where('kind', '=', kind)
        .where('expires_at', '>', now)
        .executeTakeFirst();
      return row === undefined ? null : { kind: row.kind, userId: row.user_id, email: row.email, clientId: row.client_id, resultUrl: row.result_url };
    },

    async spend(tx, kind, token) {
      const row = await tx.deleteFrom('ticket').where('token_hash', '=', hashOf(token)).where('kind', '=', kind).where('expires_at', '>', now).returning('user_id').executeTakeFirst();
      if (row === undefined) return false;
      await remove(tx, kind, row.user_id);
      return true;
    },
  };
}

function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}
