import { randomInt } from 'node:crypto';
import type { Message } from '../domain/message.ts';
import { codeMail, codeText } from '../messages/templates.ts';
import type { Client } from '../store/clients.ts';
import type { CodeStore } from '../store/codes.ts';
import type { Connection } from '../store/connections.ts';
import type { Database } from '../store/database.ts';
import type { Keyring } from '../store/keyring.ts';
import type { LoginStore } from '../store/logins.ts';
import { writeLog } from '../store/logs.ts';
import { writeMessage } from '../store/messages.ts';
import type { AttackProtection } from './attack-protection.ts';
import { logItem } from './create-user.ts';
import type { RequestFacts } from './event.ts';

/** Auth0's defaults and what it takes: digits of a code, and seconds for which it is good. */
const CODE = { digits: 6, minDigits: 4, maxDigits: 40, seconds: 180, minSeconds: 60, maxSeconds: 3600 } as const;
/** Wrong ones after which a code is dead. */
const TRIES = 3;

/** Whoever is to get a code: by mail or by text message, as the connection's strategy says. */
export interface PasswordlessStartInput {
  client: Client;
  /** Of strategy `email` or `sms`. */
  connection: Connection;
  /** E-mail address in lower case, or phone number. */
  recipient: string;
  request: RequestFacts;
}

/** `id`: of the pair of connection and recipient, not of a user. */
export type PasswordlessStartOutcome = { outcome: 'sent'; id: string } | { outcome: 'too-many-messages' };

export type PasswordlessStart = (input: PasswordlessStartInput) => Promise<PasswordlessStartOutcome>;

export interface PasswordlessStartDeps {
  database: Database;
  keyring: Keyring;
  codes: CodeStore;
  logins: LoginStore;
  protection: AttackProtection;
  /** Called when a message was committed. */
  wakeSender(): void;
}

/**
 * Sends a code. Answer and work are the same whether or not there is such a user; where the connection takes no new users,
 * a stranger's code is written like any other, and nobody gets it.
 */
export function createPasswordlessStart(deps: PasswordlessStartDeps): PasswordlessStart {
  const { database, keyring, codes, logins, protection } = deps;

  return async ({ client, connection, recipient, request }) => {
    if (!(await protection.mayWriteTo(connection, recipient))) return { outcome: 'too-many-messages' };
    const isMail = connection.strategy === 'email';
    const user = await logins.find(connection.id, isMail ? { email: recipient } : { phoneNumber: recipient });
    const to = user === null && connection.options.disable_signup === true ? null : recipient;

    const { digits, seconds } = codeFormOf(connection);
    const code = Array.from({ length: digits }, () => randomInt(10)).join('');
    const usefulUntil = Date.now() + seconds * 1000;
    const message: Message = isMail
      ? { channel: 'email', to, ...codeMail(code, seconds), usefulUntil }
      : { channel: 'sms', to, ...senderOf(connection), text: codeText(code), usefulUntil };
    const person = { client, connection, request, email: isMail ? recipient : null, phoneNumber: isMail ? null : recipient, username: null };
    await database.transaction(async (tx) => {
      await codes.put(tx, { connectionId: connection.id, recipient, clientId: client.id }, { code, tries: TRIES, lifetimeMs: seconds * 1000 });
      await writeMessage(tx, keyring, message);
      await writeLog(tx, keyring, {
        type: isMail ? 'cls' : 'cs',
        date: Date.now(),
        userId: user?.id ?? null,
        clientId: client.id,
        connectionId: connection.id,
        item: { ...logItem(person), description: to === null ? 'Nobody gets a code: there is no such user, and the connection takes no new ones' : 'Passwordless login code has been sent' },
      });
    });
    deps.wakeSender();
    return { outcome: 'sent', id: keyring.mac('passwordless start', JSON.stringify([connection.id, recipient])).slice(0, 24) };
  };
}

function codeFormOf({ options: { totp } }: Connection): { digits: number; seconds: number } {
  const within = (value: number, min: number, max: number) => Math.min(Math.max(Math.trunc(value), min), max);
  return {
    digits: within(totp?.length ?? CODE.digits, CODE.minDigits, CODE.maxDigits),
    seconds: within(totp?.time_step ?? CODE.seconds, CODE.minSeconds, CODE.maxSeconds),
  };
}

/** Auth0's option `from` of an SMS connection. */
function senderOf({ options: { from } }: Connection): { from?: string } {
  return typeof from === 'string' && from !== '' ? { from } : {};
}
