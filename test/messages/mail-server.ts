import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SMTPServer } from 'smtp-server';

/** A mail as the server got it. */
export interface ReceivedMail {
  to: string[];
  from: string;
  /** Headers and body as they came. */
  raw: string;
  /** The plain text, decoded. */
  text: string;
  subject: string;
}

export interface MailServer {
  url: string;
  mails: ReceivedMail[];
  /** Users that have tried to log in. */
  logins: string[];
  /** What the next recipients are answered; null: they are taken. */
  refuseWith: { code: number; text: string } | null;
  /** Waits until as many mails have come; throws after 20 s. */
  wait(count: number): Promise<ReceivedMail[]>;
  /** Mails to one address. */
  to(address: string): ReceivedMail[];
  close(): Promise<void>;
}

/** A real SMTP server on loopback. @param credentials asked of clients. @param port @default a free one */
export async function startMailServer({ credentials, port = 0 }: { credentials?: { user: string; pass: string }; port?: number } = {}): Promise<MailServer> {
  const mails: ReceivedMail[] = [];
  const logins: string[] = [];
  const smtp = new SMTPServer({
    authOptional: credentials === undefined,
    allowInsecureAuth: true,
    disabledCommands: ['STARTTLS'],
    onAuth({ username = '', password }, _session, done) {
      logins.push(username);
      if (username === credentials?.user && password === credentials?.pass) done(null, { user: username });
      else done(new Error('wrong credentials'));
    },
    onRcptTo(_address, _session, done) {
      if (server.refuseWith === null) done();
      else done(Object.assign(new Error(server.refuseWith.text), { responseCode: server.refuseWith.code }));
    },
    onData(stream, session, done) {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        const raw = Buffer.concat(chunks).toString();
        const { mailFrom, rcptTo } = session.envelope;
        mails.push({ to: rcptTo.map(({ address }) => address), from: mailFrom === false ? '' : mailFrom.address, raw, text: plainText(raw), subject: /^Subject: (.*)$/m.exec(raw)?.[1]?.trim() ?? '' });
        done();
      });
    },
  });
  smtp.on('error', () => undefined);
  const listener = smtp.listen(port, '127.0.0.1');
  await once(listener, 'listening');
  const login = credentials === undefined ? '' : `${credentials.user}:${credentials.pass}@`;
  const server: MailServer = {
    url: `smtp://${login}127.0.0.1:${(listener.address() as AddressInfo).port}`,
    mails,
    logins,
    refuseWith: null,
    wait: async (count) => {
      await until(() => mails.length >= count, `${count} mails`);
      return mails;
    },
    to: (address) => mails.filter((mail) => mail.to.includes(address)),
    close: () => new Promise((resolve) => {
      smtp.close(() => resolve());
    }),
  };
  return server;
}

/** The first part that is plain text, without its transfer encoding. */
function plainText(raw: string): string {
  const [, headers = '', body = ''] = /Content-Type: text\/plain[^\n]*\r?\n((?:[^\r\n]+\r?\n)*)\r?\n([\s\S]*?)(?:\r?\n----|$)/.exec(raw) ?? [];
  if (/base64/i.test(headers)) return Buffer.from(body, 'base64').toString();
  if (!/quoted-printable/i.test(headers)) return body;
  return body.replaceAll(/=\r?\n/g, '').replaceAll(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

export interface SmsGateway {
  url: string;
  messages: { body: { to: string; from?: string; text: string }; headers: IncomingMessage['headers'] }[];
  /** Of the next answers. */
  status: number;
  wait(count: number): Promise<SmsGateway['messages']>;
  close(): void;
}

/** An HTTP gateway for text messages on loopback. */
export async function startSmsGateway(): Promise<SmsGateway> {
  const messages: SmsGateway['messages'] = [];
  const server = createServer((req, res) => {
    let body = '';
    req.on('data', (chunk: Buffer) => (body += chunk.toString()));
    req.on('end', () => {
      messages.push({ body: JSON.parse(body) as SmsGateway['messages'][number]['body'], headers: req.headers });
      res.writeHead(gateway.status).end();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const gateway: SmsGateway = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/send`,
    messages,
    status: 202,
    wait: async (count) => {
      await until(() => messages.length >= count, `${count} text messages`);
      return messages;
    },
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
  return gateway;
}

/** Waits for a condition; throws when it does not come within `limitMs`. */
export async function until(isTrue: () => boolean | Promise<boolean>, what: string, limitMs = 20_000): Promise<void> {
  const giveUpAt = performance.now() + limitMs;
  while (!(await isTrue())) {
    if (performance.now() > giveUpAt) throw new Error(`waited ${limitMs / 1000} s for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
