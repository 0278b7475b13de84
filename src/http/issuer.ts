import type { Request } from 'express';

/**
 * Who issues our tokens, with a slash at the end as Auth0 writes it. Not for links in mails: a request can claim any host.
 *
 * @param publicUrl origin at which clients reach us; null: the one that the request names.
 */
export function issuerOf(req: Request, publicUrl: string | null): string {
  return `${publicUrl ?? `${req.protocol}://${req.host}`}/`;
}
