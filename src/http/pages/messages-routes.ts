import type { Request } from 'express';
import { z } from 'zod';
import { escapeHtml } from '../../domain/html.ts';
import type { KeptMessage, MessageStore } from '../../store/messages.ts';
import { type Route, route } from '../endpoint.ts';
import { errorFor } from '../error-handler.ts';
import { page } from './page.ts';

const LOOPBACK = /^(::1|(::ffff:)?127\.\d+\.\d+\.\d+)$/;
const OWN_NAMES = new Set(['localhost', '127.0.0.1', '[::1]']);

/** The messages that were kept in place of being sent, as in development: for whoever sits at this machine. */
export function messagesRoutes({ messages }: { messages: Pick<MessageStore, 'listKept'> }): Route[] {
  return [
    route(
      {
        operationId: 'get_messages_page',
        method: 'get',
        path: '/usher/messages',
        summary: 'Mails and text messages that were kept, as no server is named for them',
        description: 'The newest 200. Only for requests of this machine; others are answered 404.',
        tag: 'operations',
        scopes: null,
        returns: z.string(),
        returnsType: 'text/html',
        errors: [404],
        ours: true,
      },
      async ({ req, res }) => {
        if (!isOfThisMachine(req)) throw errorFor(req, 404, 'not_found', 'Not Found');
        res.set('cache-control', 'no-store');
        const kept = await messages.listKept();
        return page('Messages', kept.length === 0 ? '<p>None was kept.</p>' : kept.map(messageHtml).join(''));
      },
    ),
  ];
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
