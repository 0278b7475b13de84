import type { ClientSettings } from '../../src/store/clients.ts';
import { hashSecret } from '../../src/store/clients.ts';
import { type ConnectionOptions, newConnectionId } from '../../src/store/connections.ts';
import { type Answer, CLIENT_ID, CLIENT_SECRET, newestLog, postJson, startTestApp, type TestApp, type TestAppOptions } from '../http/test-app.ts';
import { type MailServer, type SmsGateway, startMailServer, startSmsGateway, until } from '../messages/mail-server.ts';

export const OTP = 'http://auth0.com/oauth/grant-type/passwordless/otp';
export const REALM = 'http://auth0.com/oauth/grant-type/password-realm';
/** A client that cannot keep a secret, such as one in a browser. */
export const PUBLIC_CLIENT = 'public-client';

/** The API with a real SMTP server and an SMS gateway, connections `email` and `sms`, and a client without a secret. */
export interface LoginApp extends TestApp {
  mail: MailServer;
  sms: SmsGateway;
  addConnection(name: string, strategy: string, options?: ConnectionOptions): Promise<string>;
  addClient(id: string, settings?: ClientSettings): Promise<void>;
  start(fields: Record<string, unknown>): Promise<Answer>;
  /** Starts a login and waits for the code that comes by mail or text message. */
  codeFor(recipient: string, fields?: Record<string, unknown>): Promise<string>;
  token(fields: Record<string, unknown>, headers?: Record<string, string>): Promise<Answer>;
  /** The OTP grant with the first client. */
  login(recipient: string, otp: string, fields?: Record<string, unknown>, headers?: Record<string, string>): Promise<Answer>;
  user(id: string): Promise<Record<string, unknown> | undefined>;
  registrations(userId: string): Promise<{ id: string; source: string }[]>;
  newestLog(type: string): Promise<Answer['body']>;
}

export async function startLoginApp(options: TestAppOptions = {}): Promise<LoginApp> {
  const [mail, sms] = [await startMailServer(), await startSmsGateway()];
  const transports = { smtp: { url: mail.url, from: 'no-reply@usher.example' }, smsGateway: { url: sms.url, authorization: null } };
  const base = await startTestApp({ transports, ...options });
  const { db } = base.database;

  const app: LoginApp = {
    ...base,
    mail,
    sms,

    async addConnection(name, strategy, connectionOptions = {}) {
      const id = newConnectionId();
      await db.insertInto('connection').values({ id, name, strategy, options: JSON.stringify(connectionOptions), metadata: '{}', created_at: Date.now() }).execute();
      return id;
    },

    async addClient(id, settings = {}) {
      const all = { grant_types: ['password', REALM, OTP], token_endpoint_auth_method: 'none', ...settings };
      await db.insertInto('client').values({ id, name: id, secret_hash: hashSecret(CLIENT_SECRET), metadata: '{}', settings: JSON.stringify(all), created_at: Date.now() }).execute();
    },

    start: async (fields) => await postJson(`${base.url}/passwordless/start`, { client_id: CLIENT_ID, ...fields }),

    async codeFor(recipient, fields = {}) {
      const isMail = recipient.includes('@');
      const texts = () => (isMail ? mail.to(recipient).map(({ text }) => text) : sms.messages.filter(({ body }) => body.to === recipient).map(({ body }) => body.text));
      const before = texts().length;
      const answer = await app.start({ connection: isMail ? 'email' : 'sms', ...(isMail ? { email: recipient } : { phone_number: recipient }), ...fields });
      if (answer.status !== 200) throw new Error(`not started: ${JSON.stringify(answer.body)}`);
      await until(() => texts().length > before, `a code for ${recipient}`);
      return /\b\d{4,}\b/.exec(texts().at(-1)!.replaceAll(recipient, ''))![0];
    },

    token: async (fields, headers) => await postJson(`${base.url}/oauth/token`, { client_id: CLIENT_ID, client_secret: CLIENT_SECRET, ...fields }, headers),

    async login(recipient, otp, fields = {}, headers = {}) {
      return await app.token({ grant_type: OTP, realm: recipient.includes('@') ? 'email' : 'sms', username: recipient, otp, scope: 'openid profile email phone', ...fields }, headers);
    },

    user: async (id) => await db.selectFrom('user_account').selectAll().where('id', '=', id).executeTakeFirst(),
    registrations: async (userId) => await db.selectFrom('registration').select(['id', 'source']).where('user_id', '=', userId).execute(),
    newestLog: async (type) => await newestLog(base, type),

    async close() {
      await base.close();
      await mail.close();
      sms.close();
    },
  };
  await app.addConnection('email', 'email');
  await app.addConnection('sms', 'sms', { from: 'Usher' });
  await app.addClient(PUBLIC_CLIENT);
  return app;
}
