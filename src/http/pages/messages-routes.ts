import { timingSafeEqual } from 'node:crypto';
import type { Request } from 'express';
import { z } from 'zod';
import { escapeHtml } from '../../domain/html.ts';
import type { Keyring } from '../../store/keyring.ts';
import type { KeptMessage, MessageStore } from '../../store/messages.ts';
import { type Route, route } from '../endpoint.ts';
import { errorFor } from '../error-handler.ts';
import { page } from './page.ts';

const PATH = '/usher/messages';
const LOOPBACK = /^(::1|(::ffff:)?127\.\d+\.\d+\.\d+)$/;
const OWN_NAMES = new Set(['localhost', '127.0.0.1', '[::1]']);

/**
 * The messages that were kept in place of being sent, as in development: for whoever sits at this machine and has the link.
 * Requests of Actions come from this machine too, and those of a proxy that does not say so.
 */
export function messagesRoutes({ messages, keyring }: { messages: Pick<MessageStore, 'listKept'>; keyring: Pick<Keyring, 'mac'> }): Route[] {
  return [
    route(
      {
        operationId: 'get_messages_page',
        method: 'get',
        path: PATH,
        summary: 'Mails and text messages that were kept, as no server is named for them',
        description: 'The newest 200. Only for requests of this machine with the key of the link that the start prints; others are answered 404.',
        tag: 'operations',
        scopes: null,
        query: z.strictObject({ key: z.string().max(100).default('') }),
        returns: z.string(),
        returnsType: 'text/html',
        errors: [404],
        ours: true,
      },
      async ({ query, req, res }) => {
        if (!isOfThisMachine(req)) throw errorFor(req, 404, 'not_found', 'Not Found');
        if (!isEqual(query.key, keyOf(keyring))) throw errorFor(req, 404, 'not_found', 'Not Found: open this page by the link that the start of Usher prints; it ends in ?key=…');
        res.set('cache-control', 'no-store');
        const kept = await messages.listKept();
        return page('Messages', kept.length === 0 ? '<p>None was kept.</p>' : kept.map(messageHtml).join(''));
      },
    ),
  ];
}

/** The page with its key, below the origin. */
export function messagesPath(keyring: Pick<Keyring, 'mac'>): string {
  return `${PATH}?key=${keyOf(keyring)}`;
}

function keyOf(keyring: Pick<Keyring, 'mac'>): string {
  return keyring.mac('page of kept messages', '').slice(0, 32);
}

function isEqual(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}

/** A proxy on this machine comes from it too, but for others; and a name that is not ours may have been made to lead here. */
function isOfThisMachine(req: Request): boolean {
  const isForwarded = req.headers['x-forwarded-for'] !== undefined || req.headers.forwarded !== undefined;
  const host = (req.headers.host ?? '').replace(/:\d+$/, '');
  return LOOPBACK.test(req.socket.remoteAddress ?? '') && !isForwarded && OWN_NAMES.has(host);
}

function messageHtml({ message, createdAt }: KeptMessage): string {
  const title = message.channel === 'email' ? message.subject : 'Text message';
  return `<article><p><strong>${escapeHtml(message.to ?? '')}</strong> <span class="quiet">${new Date(createdAt).toISOString()}</span><br>${escapeHtml(title)}</p>
<pre>${withLinks(message.text)}</pre></article>`;
}

function withLinks(text: string): string {
  return text.split(/(https?:\/\/\S+)/).map((part, index) => (index % 2 === 1 ? `<a href="${escapeHtml(part)}">${escapeHtml(part)}</a>` : escapeHtml(part))).join('');
}
