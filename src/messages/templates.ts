import { escapeHtml } from '../domain/html.ts';
import type { Email } from '../domain/message.ts';

/** What a mail says. */
export type MailContent = Pick<Email, 'subject' | 'text' | 'html'>;

/** Auth0's template `verify_email`. */
export function verifyEmailMail(link: string): MailContent {
  return mail('Verify your e-mail address', [
    'Please confirm that this e-mail address is yours:',
    { link, label: 'Verify my address' },
    'If you did not sign up, you can ignore this message.',
  ]);
}

/** Auth0's template `reset_email`. */
export function changePasswordMail(link: string): MailContent {
  return mail('Change your password', [
    'Somebody, probably you, asked to change the password of your account. Choose a new one here:',
    { link, label: 'Change my password' },
    'If it was not you, you can ignore this message: your password stays as it is.',
  ]);
}

/** The mail of a passwordless connection, which on Auth0 is the connection's own. */
export function codeMail(code: string, lifetimeSeconds: number): MailContent {
  return mail(`Your code is ${code}`, [
    'Your verification code is:',
    { code },
    `It is good for ${duration(lifetimeSeconds)}. If you did not ask for it, you can ignore this message.`,
  ]);
}

/** The text message of a passwordless connection. */
export function codeText(code: string): string {
  return `Your verification code is: ${code}`;
}

type Part = string | { link: string; label: string } | { code: string };

function mail(subject: string, parts: Part[]): MailContent {
  return {
    subject,
    text: `${parts.map(asText).join('\n\n')}\n`,
    html: `<!doctype html><html lang="en"><body style="font: 16px/1.5 sans-serif; max-width: 36em">${parts.map(asHtml).join('')}</body></html>`,
  };
}

function asText(part: Part): string {
  if (typeof part === 'string') return part;
  return 'link' in part ? part.link : part.code;
}

function asHtml(part: Part): string {
  if (typeof part === 'string') return `<p>${escapeHtml(part)}</p>`;
  if ('link' in part) return `<p><a href="${escapeHtml(part.link)}">${escapeHtml(part.label)}</a></p>`;
  return `<p style="font-size: 28px; letter-spacing: 4px"><strong>${escapeHtml(part.code)}</strong></p>`;
}

function duration(seconds: number): string {
  const minutes = Math.floor(seconds / 60);
  if (minutes === 0) return `${seconds} seconds`;
  return minutes === 1 ? 'one minute' : `${minutes} minutes`;
}
