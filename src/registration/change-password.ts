import { hashPassword } from '../passwords.ts';
import type { Client } from '../store/clients.ts';
import { type Connection, toConnection } from '../store/connections.ts';
import type { Database } from '../store/database.ts';
import type { Keyring } from '../store/keyring.ts';
import type { LoginStore } from '../store/logins.ts';
import { writeLog } from '../store/logs.ts';
import type { Ticket, TicketStore } from '../store/tickets.ts';
import type { AttackProtection } from './attack-protection.ts';
import { logItem } from './create-user.ts';
import type { Profile, RequestFacts } from './event.ts';
import { findPasswordProblem, type PasswordProblem } from './password-rules.ts';
import type { UserMails } from './user-mails.ts';

export interface ChangePasswordDeps {
  database: Database;
  keyring: Keyring;
  tickets: TicketStore;
  logins: LoginStore;
  protection: AttackProtection;
  userMails: UserMails;
  wakeSender(): void;
}

/** `no-ticket`: the link is none, has ended, or was used. */
export type ChangeOutcome = { outcome: 'changed'; email: string | null; resultUrl: string | null } | { outcome: 'refused'; problem: PasswordProblem } | { outcome: 'no-ticket' };

/** Changes of passwords by mail. */
export interface ChangePassword {
  /** Sends a link, if there is such a user. If not, or when there were too many mails, the answer is the same, and so is the work but for one row. */
  request(input: { client: Client | null; connection: Connection; email: string; request: RequestFacts }): Promise<void>;
  /** The ticket of a link that still is good, or null. */
  find(token: string): Promise<Ticket | null>;
  /** Uses the link up, unless the connection does not take the password. */
  change(token: string, password: string): Promise<ChangeOutcome>;
}

export function createChangePassword(deps: ChangePasswordDeps): ChangePassword {
  const { database, keyring, tickets, logins, protection, userMails } = deps;

  return {
    async request({ client, connection, email, request }) {
      const mayWrite = await protection.mayWriteTo(connection, email);
      const user = await logins.find(connection.id, { email });
      const clientId = client?.id ?? null;
      const person = { client, connection, request, email, username: null, phoneNumber: null };
      await database.transaction(async (tx) => {
        await userMails.writeChangePassword(tx, user === null || !mayWrite ? null : { userId: user.id, email, clientId });
        await writeLog(tx, keyring, {
          type: 'scpr',
          date: Date.now(),
          userId: user?.id ?? null,
          clientId,
          connectionId: connection.id,
          item: { ...logItem(person), description: user === null ? 'Nobody gets a mail: there is no such user' : mayWrite ? 'A mail was sent' : 'No mail was sent: there were too many' },
        });
      });
      deps.wakeSender();
    },

    find: (token) => tickets.find('change_password', token),

    async change(token, password) {
      const ticket = await tickets.find('change_password', token);
      if (ticket === null) return { outcome: 'no-ticket' };
      const user = await database.db.selectFrom('user_account').selectAll().where('id', '=', ticket.userId).executeTakeFirstOrThrow();
      const connection = toConnection(await database.db.selectFrom('connection').selectAll().where('id', '=', user.connection_id).executeTakeFirstOrThrow());
      const owner = { email: user.email, username: user.username, profile: JSON.parse(user.profile) as Profile, userMetadata: JSON.parse(user.user_metadata) as Record<string, unknown> };
      const problem = findPasswordProblem(connection.options, password, owner);
      if (problem !== null) return { outcome: 'refused', problem };

      const passwordHash = await hashPassword(password);
      const now = Date.now();
      return await database.transaction(async (tx) => {
        if (!(await tickets.spend(tx, 'change_password', token))) return { outcome: 'no-ticket' };
        await tx.updateTable('user_account')
          .set({ password_hash: passwordHash, last_password_reset: now, updated_at: now, ...(ticket.email !== null && ticket.email === user.email ? { email_verified: 1 } : {}) })
          .where('id', '=', user.id)
          .execute();
        await writeLog(tx, keyring, { type: 'scp', date: now, userId: user.id, clientId: ticket.clientId, connectionId: connection.id, item: { description: 'You can now login to the application with the new password.', user_name: user.email ?? user.username ?? '' } });
        return { outcome: 'changed', email: user.email, resultUrl: ticket.resultUrl };
      });
    },
  };
}
