import { z } from 'zod';
import { signUpError } from '../../domain/api-error.ts';
import type { ChangePassword } from '../../registration/change-password.ts';
import type { ClientStore } from '../../store/clients.ts';
import { type ConnectionStore, isEnabledFor } from '../../store/connections.ts';
import { type Route, route } from '../endpoint.ts';
import { type FingerprintHeaders, requestFacts } from '../request-facts.ts';
import { EMAIL_ADDRESS } from '../schema/user.ts';

const CHANGE_PASSWORD = z.object({
  client_id: z.string().min(1).max(100).nullish(),
  email: EMAIL_ADDRESS,
  connection: z.string().min(1).max(128).describe('A database connection.'),
});

/** The words of Auth0, which are a text and no JSON. */
const ASKED = "We've just sent you an email to reset your password.";

export interface ChangePasswordRoutesDeps {
  changePassword: ChangePassword;
  clients: Pick<ClientStore, 'find'>;
  connections: Pick<ConnectionStore, 'findByName'>;
  fingerprintHeaders: FingerprintHeaders;
}

/** Asks for the mail with which a password is changed. */
export function changePasswordRoutes({ changePassword, clients, connections, fingerprintHeaders }: ChangePasswordRoutesDeps): Route[] {
  return [
    route(
      {
        operationId: 'post_dbconnections_change_password',
        method: 'post',
        path: '/dbconnections/change_password',
        summary: 'Send the mail with which a password is changed',
        description: 'The answer is the same whether or not there is such a user.',
        tag: 'authentication',
        scopes: null,
        body: CHANGE_PASSWORD,
        bodyTypes: ['application/json', 'application/x-www-form-urlencoded'],
        returns: z.string(),
        returnsType: 'text/html',
        errorShape: 'sign-up',
      },
      async ({ body, req }) => {
        const client = body.client_id == null ? null : await clients.find(body.client_id);
        if (client === null && body.client_id != null) throw signUpError('invalid_client', 'There is no client with this client_id.');
        const connection = await connections.findByName(body.connection);
        if (connection === null || connection.strategy !== 'auth0' || (client !== null && !isEnabledFor(connection, client.id))) {
          throw signUpError('invalid_connection', 'There is no database connection of this name that is enabled for the client.');
        }
        await changePassword.request({ client, connection, email: body.email, request: requestFacts(req, fingerprintHeaders) });
        return ASKED;
      },
    ),
  ];
}
