import type { Email } from '../../src/domain/message.ts';

/** A mail that is to be sent now. */
export function mailTo(to: string | null, changes: Partial<Email> = {}): Email {
  return { channel: 'email', to, subject: 'Hello', text: 'Hello there', html: '<p>Hello there</p>', usefulUntil: Date.now() + 60_000, ...changes };
}
