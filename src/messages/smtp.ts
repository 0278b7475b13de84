import { createTransport } from 'nodemailer';
import type { Email } from '../domain/message.ts';
import { type Transport, TransportError } from './transport.ts';

/** Connections to the server at once, kept open between mails. */
const CONNECTIONS = 5;
const TIMEOUTS = { dnsTimeout: 5_000, connectionTimeout: 10_000, greetingTimeout: 10_000, socketTimeout: 20_000 };

/**
 * Sends mails by SMTP.
 *
 * @param url `smtp://` or `smtps://`, with user and password where the server wants them; its query takes nodemailer's
 * options. With a password, a connection without TLS is refused unless the URL says `?requireTLS=false`.
 * @param from the address that mails come from: `Example <no-reply@example.com>`.
 */
export function createSmtpTransport({ url, from }: { url: string; from: string }): Transport<Email> {
  const { password } = new URL(url);
  const smtp = createTransport({
    pool: true,
    maxConnections: CONNECTIONS,
    ...TIMEOUTS,
    requireTLS: password !== '',
    disableFileAccess: true,
    disableUrlAccess: true,
    // What the URL says goes before what stands here.
    url,
  }, { from });
  const domain = /@([\w.-]+)/.exec(from)?.[1] ?? 'usher';

  return {
    async send({ to, subject, text, html }, id) {
      try {
        // The same id at each try: a mail that arrives twice can be told.
        await smtp.sendMail({ to: { name: '', address: to }, subject, text, html, messageId: `<${id}@${domain}>` });
      } catch (error) {
        throw asTransportError(error);
      }
    },
    close() {
      smtp.close();
    },
  };
}

/** The server's own words may repeat the address, so only its code is told. */
function asTransportError(error: unknown): TransportError {
  const { code = 'unknown', responseCode } = error as { code?: string; responseCode?: number };
  const refused = code === 'EENVELOPE' || code === 'EMESSAGE';
  const permanent = refused && (responseCode === undefined || responseCode >= 500);
  return new TransportError(`the SMTP server did not take the mail: ${code}${responseCode === undefined ? '' : ` ${responseCode}`}`, { permanent });
}
