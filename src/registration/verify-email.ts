import type { Database } from '../store/database.ts';
import type { Keyring } from '../store/keyring.ts';
import { writeLog } from '../store/logs.ts';
import type { TicketStore } from '../store/tickets.ts';

/** `resultUrl`: where the person is sent. */
export type VerifyEmailOutcome = { outcome: 'verified'; email: string; resultUrl: string | null } | { outcome: 'no-ticket' };

export type VerifyEmail = (token: string) => Promise<VerifyEmailOutcome>;

/**
 * Verifies the address that a link was made for, as long as it is still the user's. The link can be followed again until
 * it ends: programs that look at mails follow it before its reader does.
 */
export function createVerifyEmail({ database, keyring, tickets }: { database: Database; keyring: Keyring; tickets: TicketStore }): VerifyEmail {
  return async (token) => {
    const ticket = await tickets.find('verify_email', token);
    if (ticket?.email == null) return { outcome: 'no-ticket' };
    const { userId, email, clientId, resultUrl } = ticket;
    return await database.transaction(async (tx) => {
      const user = await tx.selectFrom('user_account').select(['email_verified', 'connection_id']).where('id', '=', userId).where('email', '=', email).forUpdate().executeTakeFirst();
      if (user === undefined) return { outcome: 'no-ticket' };
      if (user.email_verified === 0) {
        await tx.updateTable('user_account').set({ email_verified: 1, updated_at: Date.now() }).where('id', '=', userId).execute();
        await writeLog(tx, keyring, { type: 'sv', date: Date.now(), userId, clientId, connectionId: user.connection_id, item: { description: 'Your email was verified. You can continue using the application.', user_name: email } });
      }
      return { outcome: 'verified', email, resultUrl };
    });
  };
}
