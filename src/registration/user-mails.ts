import { CHANGE_PASSWORD_PATH, VERIFY_EMAIL_PATH } from '../domain/page-paths.ts';
import { changePasswordMail, type MailContent, verifyEmailMail } from '../messages/templates.ts';
import type { Queryable } from '../store/database.ts';
import type { Keyring } from '../store/keyring.ts';
import { writeMessage } from '../store/messages.ts';
import type { NewTicket, TicketStore } from '../store/tickets.ts';

const DAY_MS = 24 * 60 * 60_000;
/** Auth0's default for the links of both mails. */
const TICKET_LIFETIME_MS = 5 * DAY_MS;

/** Whose link it is. */
export interface LinkFor {
  userId: string;
  /** The address that it verifies; null: none. */
  email: string | null;
  clientId: string | null;
  /** @default null */
  resultUrl?: string | null;
  /** @default five days */
  lifetimeMs?: number;
}

/** The mails that lead users to our own pages. All of it belongs to the caller's transaction; wake the sender after it. */
export interface UserMails {
  /** A link that verifies an address. */
  verifyEmailLink(tx: Queryable, wanted: LinkFor): Promise<string>;
  /** A link to a form for a new password. */
  changePasswordLink(tx: Queryable, wanted: LinkFor): Promise<string>;
  /** The mail that asks a user to verify the address. */
  writeVerifyEmail(tx: Queryable, user: { userId: string; email: string; clientId: string | null }): Promise<void>;
  /** The mail with which a user changes the password. Null: nobody gets it, and it takes as long. */
  writeChangePassword(tx: Queryable, user: { userId: string; email: string; clientId: string | null } | null): Promise<void>;
  /** Ends the links by which a user could still change the password: they belong to an older one, or to an older address. */
  endChangePasswordLinks(tx: Queryable, userId: string): Promise<void>;
}

/** @param deps.origin of the links; never what a request says. */
export function createUserMails({ keyring, tickets, origin }: { keyring: Keyring; tickets: TicketStore; origin(): string }): UserMails {
  async function link(tx: Queryable, kind: NewTicket['kind'], { resultUrl = null, lifetimeMs = TICKET_LIFETIME_MS, ...user }: LinkFor): Promise<string> {
    const token = await tickets.create(tx, { kind, resultUrl, lifetimeMs, ...user });
    return `${origin()}${kind === 'verify_email' ? VERIFY_EMAIL_PATH : CHANGE_PASSWORD_PATH}?ticket=${token}`;
  }

  async function write(tx: Queryable, to: string | null, content: MailContent): Promise<void> {
    await writeMessage(tx, keyring, { channel: 'email', to, ...content, usefulUntil: Date.now() + DAY_MS });
  }

  return {
    verifyEmailLink: (tx, wanted) => link(tx, 'verify_email', wanted),
    changePasswordLink: (tx, wanted) => link(tx, 'change_password', wanted),
    async writeVerifyEmail(tx, user) {
      await write(tx, user.email, verifyEmailMail(await link(tx, 'verify_email', user)));
    },
    async writeChangePassword(tx, user) {
      if (user === null) await write(tx, null, changePasswordMail(origin()));
      else await write(tx, user.email, changePasswordMail(await link(tx, 'change_password', user)));
    },
    endChangePasswordLinks: (tx, userId) => tickets.remove(tx, 'change_password', userId),
  };
}
