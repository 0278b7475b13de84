import { z } from 'zod';
import { VERIFY_EMAIL_PATH } from '../../domain/page-paths.ts';
import type { VerifyEmail } from '../../registration/verify-email.ts';
import { type Route, route } from '../endpoint.ts';
import { page, resultLocation } from './page.ts';

const VERIFIED = 'Your email was verified. You can continue using the application.';

/** Where the mail leads that asks to verify an address. */
export function verifyEmailRoutes({ verifyEmail }: { verifyEmail: VerifyEmail }): Route[] {
  return [
    route(
      {
        operationId: 'get_verify_email_page',
        method: 'get',
        path: VERIFY_EMAIL_PATH,
        summary: 'Verify an address by the link of a mail',
        description: 'Answers 302 where the ticket names a `result_url`.',
        tag: 'authentication',
        scopes: null,
        query: z.strictObject({ ticket: z.string().max(200).default('') }),
        returns: z.string(),
        returnsType: 'text/html',
        ours: true,
      },
      async ({ query, res }) => {
        res.set('cache-control', 'no-store');
        const result = await verifyEmail(query.ticket);
        if (result.outcome === 'no-ticket') {
          return page('This link cannot be used', '<p>It has expired, it is not complete, or the address has changed since. Ask for a new mail.</p>');
        }
        if (result.resultUrl !== null) res.status(302).set('location', resultLocation(result.resultUrl, { message: VERIFIED }));
        return page('Your address is verified', `<p>${VERIFIED}</p>`);
      },
    ),
  ];
}
