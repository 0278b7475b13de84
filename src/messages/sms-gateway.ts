import type { TextMessage } from '../domain/message.ts';
import { type Transport, TransportError } from './transport.ts';

const TIMEOUT_MS = 15_000;
/** The message itself is refused; other answers are about us or about the gateway. */
const REFUSED = new Set([400, 422]);

/**
 * Sends text messages by an HTTP gateway: `POST` of `{"to": "+49…", "text": "…"}`, with `from` where the connection names
 * one, and with the message's id as `Idempotency-Key`. Any 2xx means that it was taken over.
 *
 * @param authorization value of the header, or null for none.
 */
export function createSmsGateway({ url, authorization }: { url: string; authorization: string | null }): Transport<TextMessage> {
  return {
    async send({ to, from, text }, id) {
      const headers = { 'content-type': 'application/json', 'idempotency-key': id, ...(authorization === null ? {} : { authorization }) };
      const body = JSON.stringify({ to, ...(from === undefined ? {} : { from }), text });
      let response: Response;
      try {
        response = await fetch(url, { method: 'POST', headers, body, redirect: 'error', signal: AbortSignal.timeout(TIMEOUT_MS) });
        await response.body?.cancel();
      } catch (error) {
        throw new TransportError(`the SMS gateway did not answer: ${reasonOf(error)}`, { permanent: false });
      }
      if (!response.ok) throw new TransportError(`the SMS gateway did not take the message: ${response.status}`, { permanent: REFUSED.has(response.status) });
    },
    close() {},
  };
}

function reasonOf(error: unknown): string {
  const { name, cause } = error as { name?: string; cause?: { code?: string } };
  return cause?.code ?? name ?? 'unknown';
}
