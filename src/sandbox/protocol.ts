import { z } from 'zod';
import type { FromSandbox } from './runner/messages.ts';

const token = z.string().max(64);
const number = z.int().nonnegative();
const durationMs = z.number().nonnegative();
const family = z.union([z.literal(0), z.literal(4), z.literal(6)]);
const host = z.string().min(1).max(1024);

const logLine = z.strictObject({
  at: z.number(),
  level: z.enum(['log', 'info', 'warn', 'error', 'debug', 'trace']),
  text: z.string(),
});

const actionError = z.strictObject({
  type: z.enum(['ACTION_THREW', 'ACTION_UNSETTLED', 'ACTION_INVALID']),
  name: z.string().max(256),
  message: z.string().max(8192),
  stack: z.string().max(16_384).exactOptional(),
  retryable: z.boolean(),
  retryAfterMs: durationMs.exactOptional(),
});

const cacheChange = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('set'),
    key: z.string().max(64),
    record: z.strictObject({ value: z.string().max(4096), expires_at: number }),
  }),
  z.strictObject({ kind: z.literal('delete'), key: z.string().max(64) }),
]);

const command = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('access.deny'), reason: z.string(), userMessage: z.string() }),
  z.strictObject({ kind: z.literal('validation.error'), errorCode: z.string(), errorMessage: z.string() }),
  z.strictObject({ kind: z.literal('user.setUserMetadata'), key: z.string(), value: z.json() }),
  z.strictObject({ kind: z.literal('user.setAppMetadata'), key: z.string(), value: z.json() }),
]);

/** Everything that a sandbox process may say; what an Action forged of it is a claim about that Action alone. */
const fromSandbox = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('ready'), protocol: number }),
  z.strictObject({ type: z.literal('started'), token }),
  z.strictObject({ type: z.literal('log'), token, line: logLine }),
  z.strictObject({ type: z.literal('truncated'), token }),
  z.strictObject({ type: z.literal('call'), token, call: number, method: z.string().max(64), host: z.string().max(1024), startedAt: z.number() }),
  z.strictObject({
    type: z.literal('call-ended'),
    token,
    call: number,
    status: number.exactOptional(),
    error: z.string().max(256).exactOptional(),
    durationMs,
    retryAfterMs: durationMs.exactOptional(),
  }),
  z.strictObject({ type: z.literal('settled'), token }),
  z.strictObject({ type: z.literal('failing'), token, error: actionError }),
  z.strictObject({
    type: z.literal('verdict'),
    token,
    free: z.boolean(),
    error: actionError.exactOptional(),
    cacheChanges: z.array(cacheChange),
    commands: z.array(command),
  }),
  z.strictObject({ type: z.literal('free'), token }),
  z.strictObject({ type: z.literal('connect'), request: number, host, port: number.max(65_535), family, addresses: z.array(z.string().max(64)).max(64).exactOptional() }),
  z.strictObject({ type: z.literal('resolve'), request: number, host, family }),
  z.strictObject({ type: z.literal('abandon'), request: number }),
]);

/**
 * Reads a message of a sandbox process, which sends each as one JSON text.
 *
 * @returns null for anything that the protocol does not know.
 */
export function parseFromSandbox(raw: unknown): FromSandbox | null {
  if (typeof raw !== 'string') return null;
  try {
    const result = fromSandbox.safeParse(JSON.parse(raw));
    return result.success ? result.data : null;
  } catch {
    return null;
  }
}
