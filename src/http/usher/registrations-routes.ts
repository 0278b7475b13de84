import type { Accepted, HandInRegistration } from '../../registration/outside.ts';
import { type Route, route } from '../endpoint.ts';
import { eventOfUserCreated } from './auth0-event.ts';
import { ACCEPTED, AUTH0_EVENT_BODY, HAND_IN_BODY, IDEMPOTENCY_HEADERS, type UserCreated } from './schema.ts';

const PATH = '/usher/registrations';

/** Registrations of users who live at another identity provider; docs/registrations.md. */
export function registrationsRoutes({ handIn }: { handIn: HandInRegistration }): Route[] {
  return [
    route(
      {
        operationId: 'post_registration',
        method: 'post',
        path: PATH,
        summary: 'Hand in a registration that happened elsewhere',
        description: 'Runs the post-user-registration Actions that are bound now. The same `Idempotency-Key` gives the same answer, and no second registration, for as long as the registration is kept.',
        tag: 'registrations',
        scopes: ['create:registrations'],
        basic: true,
        headers: IDEMPOTENCY_HEADERS,
        body: HAND_IN_BODY,
        status: 202,
        returns: ACCEPTED,
        errors: [409],
        ours: true,
      },
      async ({ body, headers, token }) =>
        accepted(await handIn({ clientId: token.clientId, idempotencyKey: headers['idempotency-key'], event: body.event })),
    ),
    route(
      {
        operationId: 'post_auth0_event',
        method: 'post',
        path: `${PATH}/auth0-events`,
        summary: 'Hand in the user.created events of an Auth0 Event Stream',
        description: "The event's id is the idempotency key.",
        empty: 'A test event, or one of another type: nothing was changed.',
        tag: 'registrations',
        scopes: ['create:registrations'],
        basic: true,
        body: AUTH0_EVENT_BODY,
        status: 202,
        returns: ACCEPTED.optional(),
        errors: [409],
        ours: true,
      },
      async ({ body, token }) => {
        if (!isUserCreated(body) || body.a0purpose === 'test') return undefined;
        return accepted(await handIn({ clientId: token.clientId, idempotencyKey: body.id, event: eventOfUserCreated(body) }));
      },
    ),
  ];
}

function isUserCreated(event: { type: string }): event is UserCreated {
  return event.type === 'user.created';
}

function accepted({ registrationId, createdAt }: Accepted): { id: string; status: 'accepted'; created_at: string } {
  return { id: registrationId, status: 'accepted', created_at: new Date(createdAt).toISOString() };
}
