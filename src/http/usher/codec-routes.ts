import { timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { managementError } from '../../domain/api-error.ts';
import { SealError } from '../../store/sealing.ts';
import { type Route, route } from '../endpoint.ts';

/** A payload with its bytes, as Temporal's libraries have it. */
export interface BytesPayload {
  metadata?: { [name: string]: Uint8Array } | null;
  data?: Uint8Array | null;
}

export interface CodecRoutesDeps {
  decode(payloads: BytesPayload[]): Promise<BytesPayload[]>;
  /** The last part of the address that the Web UI is given; whoever has it may decode. */
  accessKey(): Promise<string>;
}

const BASE64 = z.string().describe('In base64.');
const PAYLOAD = z.object({ metadata: z.record(z.string().max(100), BASE64).optional(), data: BASE64.optional() });

/** Temporal's remote codec protocol (samples-go, `codec-server/protocol.md`): payloads as proto3 JSON. */
const PAYLOADS = z.object({ payloads: z.array(PAYLOAD).max(10_000).default([]) }).meta({ id: 'TemporalPayloads' });

const COMMON = {
  method: 'post',
  tag: 'keys',
  body: PAYLOADS,
  returns: PAYLOADS,
  ours: true,
} as const;

/** Temporal's payloads made readable for the CLI and the Web UI; docs/data-protection.md. */
export function codecRoutes({ decode, accessKey }: CodecRoutesDeps): Route[] {
  async function decodeAll({ payloads }: z.output<typeof PAYLOADS>): Promise<z.input<typeof PAYLOADS>> {
    try {
      return { payloads: (await decode(payloads.map(toBytes))).map(fromBytes) };
    } catch (error) {
      if (!(error instanceof SealError)) throw error;
      throw managementError(400, 'A payload cannot be decrypted: its key is gone, it was altered, or it comes from another Usher.', 'invalid_payload');
    }
  }

  return [
    route(
      {
        ...COMMON,
        operationId: 'decode_payloads',
        path: '/usher/codec/decode',
        summary: 'Decrypt payloads of Temporal, for the CLI',
        description: 'What is not encrypted comes back as it is.',
        scopes: ['read:executions'],
        basic: true,
        errors: [400],
      },
      async ({ body }) => await decodeAll(body),
    ),
    route(
      {
        ...COMMON,
        operationId: 'decode_payloads_for_ui',
        path: '/usher/codec/{key}/decode',
        summary: "Decrypt payloads of Temporal, for the Web UI, which has no token of ours",
        description: 'The address with its key is at `GET /usher/keys`. Pages of any origin may call it.',
        scopes: null,
        fromAnyPage: true,
        params: z.strictObject({ key: z.string().max(100) }),
        errors: [400, 404],
      },
      async ({ params, body }) => {
        if (!isEqual(params.key, await accessKey())) throw managementError(404, 'There is no codec at this address: take it from GET /usher/keys.', 'not_found');
        return await decodeAll(body);
      },
    ),
  ];
}

function isEqual(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}

type JsonPayload = z.output<typeof PAYLOAD>;

function toBytes({ metadata = {}, data = '' }: JsonPayload): BytesPayload {
  return { metadata: Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name, Buffer.from(value, 'base64')])), data: Buffer.from(data, 'base64') };
}

function fromBytes({ metadata, data }: BytesPayload): JsonPayload {
  const text = (bytes: Uint8Array | null | undefined) => Buffer.from(bytes ?? []).toString('base64');
  return { metadata: Object.fromEntries(Object.entries(metadata ?? {}).map(([name, value]) => [name, text(value)])), data: text(data) };
}
