import { timingSafeEqual } from 'node:crypto';
import type { Database, Queryable } from './database.ts';
import type { Keyring } from './keyring.ts';

/** Whom a code was sent to, and for which application: it is good for no other. */
export interface CodeOwner {
  connectionId: string;
  /** E-mail address in lower case, or phone number. */
  recipient: string;
  clientId: string;
}

/** Codes of passwordless logins, as HMACs. */
export interface CodeStore {
  /** Writes a new code in the place of the one before. */
  put(tx: Queryable, owner: CodeOwner, code: { code: string; tries: number; lifetimeMs: number }): Promise<void>;
  /**
   * Spends one of the tries, then compares: of guesses made at once, none is free.
   *
   * @returns what `spend` takes, or null when there is no living code of this owner, or another one.
   */
  match(owner: CodeOwner, code: string): Promise<MatchedCode | null>;
  /** Uses a matched code up. @returns false when somebody else has, or when there is a newer one. */
  spend(tx: Queryable, code: MatchedCode): Promise<boolean>;
}

export interface MatchedCode {
  owner: CodeOwner;
  hash: string;
}

export function createCodeStore({ database, keyring }: { database: Database; keyring: Keyring }): CodeStore {
  const { db, now } = database;

  function hashOf({ connectionId, recipient, clientId }: CodeOwner, code: string): string {
    return keyring.mac(JSON.stringify(['passwordless_code', connectionId, recipient, clientId]), code);
  }

  return {
    async put(tx, owner, { code, tries, lifetimeMs }) {
      const fresh = { code_hash: hashOf(owner, code), tries_left: tries, created_at: Date.now() };
      await tx.insertInto('passwordless_code')
        .values((eb) => ({
          connection_id: owner.connectionId,
          recipient: owner.recipient,
          client_id: owner.clientId,
          ...fresh,
          expires_at: eb(now, '+', lifetimeMs),
        }))
        .onConflict((conflict) => conflict.columns(['connection_id', 'recipient', 'client_id']).doUpdateSet((eb) => ({ ...fresh, expires_at: eb.ref('excluded.expires_at') })))
        .execute();
    },

    async match(owner, code) {
      const row = await db.updateTable('passwordless_code')
        .set((eb) => ({ tries_left: eb('tries_left', '-', 1) }))
        .where('connection_id', '=', owner.connectionId)
        .where('recipient', '=', owner.recipient)
        .where('client_id', '=', owner.clientId)
        .where('tries_left', '>', 0)
        .where('expires_at', '>', now)
        .returning('code_hash')
        .executeTakeFirst();
      const hash = hashOf(owner, code);
      const isRight = row !== undefined && timingSafeEqual(Buffer.from(hash, 'hex'), Buffer.from(row.code_hash, 'hex'));
      return isRight ? { owner, hash } : null;
    },

    async spend(tx, { owner, hash }) {
      const { numDeletedRows } = await tx.deleteFrom('passwordless_code')
        .where('connection_id', '=', owner.connectionId)
        .where('recipient', '=', owner.recipient)
        .where('client_id', '=', owner.clientId)
        .where('code_hash', '=', hash)
        .executeTakeFirstOrThrow();
      return numDeletedRows === 1n;
    },
  };
}
