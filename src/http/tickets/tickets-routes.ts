import { z } from 'zod';
import { type ApiError, managementError } from '../../domain/api-error.ts';
import type { UserMails } from '../../registration/user-mails.ts';
import type { Database } from '../../store/database.ts';
import type { JobStore } from '../../store/jobs.ts';
import type { StoredUser, UserStore } from '../../store/users.ts';
import { type Route, route } from '../endpoint.ts';
import { jobAnswer } from '../jobs/answers.ts';
import { JOB } from '../jobs/schema.ts';
import { ID } from '../schema/common.ts';
import { EMAIL_ADDRESS } from '../schema/user.ts';
import { USER_ID } from '../users/requests.ts';

const MAX_TTL_SECONDS = 365 * 86_400;

const IDENTITY = z.strictObject({ user_id: z.string().min(1).max(300), provider: z.string().min(1).max(100), connection_id: ID.optional() });

const COMMON = {
  client_id: z.string().min(1).max(100).optional(),
  result_url: z.url({ protocol: /^https?$/ }).max(2048).optional().describe('Where the person is sent afterwards.'),
  ttl_sec: z.int().min(0).max(MAX_TTL_SECONDS).optional().describe('0 or left out: five days.'),
  includeEmailInRedirect: z.boolean().optional().describe('Without effect.'),
};

const VERIFICATION = z.strictObject({ user_id: USER_ID, identity: IDENTITY.optional().describe('Without effect: a user has one identity here.'), ...COMMON });

const PASSWORD_CHANGE = z.strictObject({
  user_id: USER_ID.optional(),
  connection_id: ID.optional().describe('With `email`, in the place of `user_id`.'),
  email: EMAIL_ADDRESS.optional(),
  mark_email_as_verified: z.boolean().default(false),
  identity: IDENTITY.optional().describe('Without effect.'),
  ...COMMON,
});

const TICKET = z.strictObject({ ticket: z.url() }).meta({ id: 'Ticket' });

export interface TicketsRoutesDeps {
  database: Database;
  users: Pick<UserStore, 'find' | 'findByEmail'>;
  userMails: UserMails;
  jobs: Pick<JobStore, 'create'>;
  wakeSender(): void;
}

/** Links that an application sends by itself, and the mail that we send when asked. */
export function ticketsRoutes({ database, users, userMails, jobs, wakeSender }: TicketsRoutesDeps): Route[] {
  return [
    route(
      {
        operationId: 'post_email-verification',
        method: 'post',
        path: '/api/v2/tickets/email-verification',
        summary: 'Make a link that verifies an address',
        tag: 'tickets',
        scopes: ['create:user_tickets'],
        body: VERIFICATION,
        status: 201,
        returns: TICKET,
        errors: [404],
      },
      async ({ body }) => {
        const user = await users.find(body.user_id);
        const email = addressOf(user);
        return { ticket: await database.transaction((tx) => userMails.verifyEmailLink(tx, { userId: user.id, email, ...given(body) })) };
      },
    ),
    route(
      {
        operationId: 'post_password-change',
        method: 'post',
        path: '/api/v2/tickets/password-change',
        summary: 'Make a link to the form for a new password',
        tag: 'tickets',
        scopes: ['create:user_tickets'],
        body: PASSWORD_CHANGE,
        status: 201,
        returns: TICKET,
        errors: [404],
      },
      async ({ body }) => {
        const user = await userOf(body, users);
        if (!user.id.startsWith('auth0|')) throw refusal("The user's main connection does not support this operation");
        const email = body.mark_email_as_verified ? addressOf(user) : null;
        return { ticket: await database.transaction((tx) => userMails.changePasswordLink(tx, { userId: user.id, email, ...given(body) })) };
      },
    ),
    route(
      {
        operationId: 'post_verification-email',
        method: 'post',
        path: '/api/v2/jobs/verification-email',
        summary: 'Send the mail that asks to verify an address',
        tag: 'jobs',
        scopes: ['update:users'],
        body: z.strictObject({ user_id: USER_ID, client_id: COMMON.client_id, identity: VERIFICATION.shape.identity }),
        status: 201,
        returns: JOB,
        errors: [404],
      },
      async ({ body }) => {
        const user = await users.find(body.user_id);
        const email = addressOf(user);
        await database.transaction((tx) => userMails.writeVerifyEmail(tx, { userId: user.id, email, clientId: body.client_id ?? null }));
        wakeSender();
        // The mail is in the outbox: nothing is left for a job to do.
        return jobAnswer(await jobs.create({ type: 'verification_email', status: 'completed', options: {} }));
      },
    ),
  ];
}

function given(body: z.output<typeof VERIFICATION> | z.output<typeof PASSWORD_CHANGE>): { clientId: string | null; resultUrl: string | null; lifetimeMs?: number } {
  return { clientId: body.client_id ?? null, resultUrl: body.result_url ?? null, ...(body.ttl_sec ? { lifetimeMs: body.ttl_sec * 1000 } : {}) };
}

async function userOf(body: z.output<typeof PASSWORD_CHANGE>, users: TicketsRoutesDeps['users']): Promise<StoredUser> {
  if (body.user_id !== undefined) return await users.find(body.user_id);
  if (body.connection_id === undefined || body.email === undefined) throw refusal('Give user_id, or connection_id and email');
  const user = (await users.findByEmail(body.email)).find(({ connection_id: id }) => id === body.connection_id);
  if (user === undefined) throw managementError(404, 'The user does not exist.', 'inexistent_user');
  return user;
}

/** @throws {ApiError} 400 for a user who has none. */
function addressOf({ email }: StoredUser): string {
  if (email === null) throw refusal('The user has no email address');
  return email;
}

function refusal(problem: string): ApiError {
  return managementError(400, problem, 'invalid_body');
}
