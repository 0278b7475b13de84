import { z } from 'zod';
import { type ApiError, oauthError } from '../../domain/api-error.ts';
import type { PasswordlessStart } from '../../registration/passwordless-start.ts';
import type { Client, ClientStore } from '../../store/clients.ts';
import { type Connection, type ConnectionStore, isEnabledFor } from '../../store/connections.ts';
import { type Route, route } from '../endpoint.ts';
import { type FingerprintHeaders, requestFacts } from '../request-facts.ts';
import { EMAIL_ADDRESS, PHONE_NUMBER } from '../schema/user.ts';

/** Texts and errors are those of contract §5.2, which tells what is wrong by codes of its own. */
const START = z.looseObject({
  client_id: z.string().nullish(),
  client_secret: z.string().nullish(),
  connection: z.string().nullish().describe('A connection of strategy `email` or `sms`.'),
  email: z.string().nullish(),
  phone_number: z.string().nullish().describe('In the form `+4912345678`.'),
  send: z.enum(['code', 'link']).nullish().describe('There are no links here, as there is no `/authorize` that they could lead to: `link` is refused. Default: `code`.'),
  authParams: z.unknown().optional().describe('An object for links; without effect.'),
});

type Start = z.output<typeof START>;

const PROPERTIES = [...Object.keys(START.shape), 'client_assertion', 'client_assertion_type', 'captcha'];

const STARTED = z
  .union([
    z.strictObject({ _id: z.string(), email: z.string(), email_verified: z.boolean() }),
    z.strictObject({ _id: z.string(), phone_number: z.string(), phone_verified: z.boolean() }),
  ])
  .meta({ id: 'PasswordlessStarted' });

export interface PasswordlessRoutesDeps {
  passwordlessStart: PasswordlessStart;
  clients: Pick<ClientStore, 'find' | 'authenticate'>;
  connections: Pick<ConnectionStore, 'findByName'>;
  fingerprintHeaders: FingerprintHeaders;
}

/** The first step of a passwordless login; contract §5.2. The second is a grant of `/oauth/token`. */
export function passwordlessRoutes({ passwordlessStart, clients, connections, fingerprintHeaders }: PasswordlessRoutesDeps): Route[] {
  async function clientOf({ client_id: id, client_secret: secret }: Start): Promise<Client> {
    if (!id) throw bad('client_id', 'Missing required property: client_id');
    const client = secret ? await clients.authenticate(id, secret) : await clients.find(id);
    if (client !== null) return client;
    throw secret ? oauthError(401, 'invalid_client', 'Client authentication failed: the client_id or the client_secret is wrong') : bad('client_id', 'There is no client with this client_id');
  }

  async function connectionOf({ connection: name }: Start, client: Client): Promise<Connection> {
    if (!name) throw bad('connection', 'Missing required property: connection');
    const connection = await connections.findByName(name);
    if (connection === null) throw bad('connection', 'Connection does not exist');
    if (connection.strategy !== 'email' && connection.strategy !== 'sms') {
      throw bad('connection', 'Invalid connection strategy. It must either be a passwordless connection');
    }
    if (!isEnabledFor(connection, client.id)) throw bad('connection', 'Connection is disabled');
    return connection;
  }

  return [
    route(
      {
        operationId: 'post_passwordless_start',
        method: 'post',
        path: '/passwordless/start',
        summary: 'Send a code by mail or text message',
        description: 'The answer is the same whether or not there is such a user.',
        tag: 'authentication',
        scopes: null,
        body: START,
        bodyTypes: ['application/json', 'application/x-www-form-urlencoded'],
        returns: STARTED,
        errors: [401],
        errorShape: 'oauth',
      },
      async ({ body, req }) => {
        const unknown = Object.keys(body).filter((property) => !PROPERTIES.includes(property));
        if (unknown.length > 0) throw bad('request', `the following properties are not allowed: ${unknown.join(', ')}`);
        const client = await clientOf(body);
        const connection = await connectionOf(body, client);
        if (body.authParams != null && typeof body.authParams !== 'object') throw bad('authParams', 'authParams must be an object');
        if (body.send === 'link') throw bad('request', 'Usher sends codes only: set send to "code". There is no /authorize here that a link could lead to.');
        const isMail = connection.strategy === 'email';
        const recipient = isMail ? emailIn(body) : phoneNumberIn(body);

        const result = await passwordlessStart({ client, connection, recipient, request: requestFacts(req, fingerprintHeaders) });
        if (result.outcome === 'too-many-messages') throw oauthError(429, 'too_many_requests', 'Too many codes were sent to this recipient. Try again in an hour.');
        return isMail ? { _id: result.id, email: recipient, email_verified: false } : { _id: result.id, phone_number: recipient, phone_verified: false };
      },
    ),
  ];
}

function emailIn({ email }: Start): string {
  if (!email) throw bad('email', 'Missing required property: email');
  const parsed = EMAIL_ADDRESS.safeParse(email);
  if (!parsed.success) throw bad('email', "Object didn't pass validation for format email");
  return parsed.data;
}

function phoneNumberIn({ phone_number: phoneNumber }: Start): string {
  if (!phoneNumber) throw bad('phone_number', 'Missing required property: phone_number');
  if (!PHONE_NUMBER.safeParse(phoneNumber).success) throw bad('phone_number', 'String does not match pattern: ^\\+[0-9]{1,15}$');
  return phoneNumber;
}

function bad(what: string, description: string): ApiError {
  return oauthError(400, `bad.${what}`, description);
}
