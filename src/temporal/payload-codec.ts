import type { Payload, PayloadCodec } from '@temporalio/common';
import proto from '@temporalio/proto';
import { openBytes, sealBytes } from '../store/sealing.ts';

/** The keys of the codec, by the id that stands in each payload. */
export interface PayloadKeys {
  current(): Promise<{ id: string; key: Buffer }>;
  /** @throws when there is no such key. */
  find(id: string): Promise<Buffer>;
}

const { Payload: PayloadMessage } = proto.temporal.api.common.v1;

// Metadata as in Temporal's own samples (samples-typescript, `encryption`).
const ENCODING = 'encoding';
const ENCRYPTED = 'binary/encrypted';
const KEY_ID = 'encryption-key-id';

const CONTEXT = 'temporal-payload';
const QUOTE = 0x22;

/**
 * Encrypts what Temporal keeps: AES-256-GCM over the whole payload, with the key's id in the metadata.
 *
 * Two kinds stay readable. A lone text: those are the summaries by which a person finds their way in the Web UI (Action
 * and version, connection and user id), and nothing else; arguments, results and failures are objects
 * (`workflows/messages.ts`). And what is empty. What was never encrypted is passed through, so that workflows begun before
 * the codec go on.
 */
export function createPayloadCodec(keys: PayloadKeys): PayloadCodec {
  async function encode(payload: Payload): Promise<Payload> {
    if (isText(payload) || !payload.data || payload.data.length === 0) return payload;
    const { id, key } = await keys.current();
    const plain = PayloadMessage.encode(payload).finish();
    return {
      metadata: { [ENCODING]: Buffer.from(ENCRYPTED), [KEY_ID]: Buffer.from(id) },
      data: sealBytes(key, CONTEXT, plain),
    };
  }

  async function decode(payload: Payload): Promise<Payload> {
    if (metadataOf(payload, ENCODING) !== ENCRYPTED) return payload;
    const key = await keys.find(metadataOf(payload, KEY_ID));
    return PayloadMessage.decode(openBytes(key, CONTEXT, payload.data ?? new Uint8Array()));
  }

  return {
    encode: (payloads) => Promise.all(payloads.map(encode)),
    // One after the other: a request of strangers' payloads ends at the first, and not after a look at the store for each.
    async decode(payloads) {
      const decoded: Payload[] = [];
      for (const payload of payloads) decoded.push(await decode(payload));
      return decoded;
    },
  };
}

function isText(payload: Payload): boolean {
  return metadataOf(payload, ENCODING) === 'json/plain' && payload.data?.[0] === QUOTE;
}

function metadataOf({ metadata }: Payload, name: string): string {
  return Buffer.from(metadata?.[name] ?? []).toString();
}
