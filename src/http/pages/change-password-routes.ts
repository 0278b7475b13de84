import { z } from 'zod';
import { escapeHtml } from '../../domain/html.ts';
import { CHANGE_PASSWORD_PATH } from '../../domain/page-paths.ts';
import type { ChangePassword } from '../../registration/change-password.ts';
import type { PasswordProblem } from '../../registration/password-rules.ts';
import { type Route, route } from '../endpoint.ts';
import { page, resultLocation } from './page.ts';

const TICKET = z.string().max(200).default('');
const CHANGED = 'You can now login to the application with the new password.';

/** Where the mail leads with which a password is changed: a form, whose secret is the link's token; no cookie is needed. */
export function changePasswordPageRoutes({ changePassword }: { changePassword: ChangePassword }): Route[] {
  return [
    route(
      {
        operationId: 'get_change_password_page',
        method: 'get',
        path: CHANGE_PASSWORD_PATH,
        summary: 'The form for a new password, by the link of a mail',
        tag: 'authentication',
        scopes: null,
        query: z.strictObject({ ticket: TICKET }),
        returns: z.string(),
        returnsType: 'text/html',
        ours: true,
      },
      async ({ query, res }) => {
        res.set('cache-control', 'no-store');
        return (await changePassword.find(query.ticket)) === null ? unusable() : form(query.ticket, '');
      },
    ),
    route(
      {
        operationId: 'post_change_password_page',
        method: 'post',
        path: CHANGE_PASSWORD_PATH,
        summary: 'Choose a new password',
        tag: 'authentication',
        scopes: null,
        body: z.object({ ticket: TICKET, password: z.string().default(''), password_again: z.string().default('') }),
        bodyTypes: ['application/x-www-form-urlencoded'],
        returns: z.string(),
        returnsType: 'text/html',
        ours: true,
      },
      async ({ body, res }) => {
        res.set('cache-control', 'no-store');
        if (body.password !== body.password_again) return form(body.ticket, '<p>The two passwords are not the same.</p>');
        const result = await changePassword.change(body.ticket, body.password);
        if (result.outcome === 'no-ticket') return unusable();
        if (result.outcome === 'refused') return form(body.ticket, problemHtml(result.problem));
        // Not by a status: a browser may not go elsewhere from a form of this page (`form-action`).
        const next = result.resultUrl === null ? null : escapeHtml(resultLocation(result.resultUrl, { message: CHANGED }));
        const onward = next === null ? '' : `<meta http-equiv="refresh" content="0;url=${next}"><p><a href="${next}">Continue</a></p>`;
        return page('Your password is changed', `<p>${CHANGED}</p>${onward}`);
      },
    ),
  ];
}

function form(ticket: string, problem: string): string {
  const input = (name: string, label: string) => `<label>${label}<input type="password" name="${name}" autocomplete="new-password" required></label>`;
  return page('Choose a new password', `${problem}<form method="post" action="${CHANGE_PASSWORD_PATH}"><input type="hidden" name="ticket" value="${escapeHtml(ticket)}">
${input('password', 'New password')}${input('password_again', 'Once more')}<button>Change my password</button></form>`);
}

function unusable(): string {
  return page('This link cannot be used', '<p>It has expired, it was used already, or it is not complete. Ask for a new mail.</p>');
}

function problemHtml(problem: PasswordProblem): string {
  if (problem.kind === 'common-password') return '<p>The password is too common.</p>';
  if (problem.kind === 'personal-password') return '<p>The password contains a part of your name or address.</p>';
  return `<p>The password is too weak:</p><pre>${escapeHtml(problem.weakness.policy)}</pre>`;
}
