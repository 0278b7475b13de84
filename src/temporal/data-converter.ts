import { fileURLToPath } from 'node:url';
import type { DataConverter } from '@temporalio/common';
import { createPayloadCodec, type PayloadKeys } from './payload-codec.ts';

/** Runs inside the workflow sandbox: a worker with a finished bundle ignores its own, so the bundle is given it. */
export const FAILURE_CONVERTER_PATH = fileURLToPath(new URL('failure-converter.ts', import.meta.url));

/**
 * How values become payloads, the same for client, worker and workflow bundle: the one place for all three. The codec
 * runs outside the workflow sandbox and never goes into the bundle.
 *
 * @param keys without them nothing is encrypted, and nothing encrypted can be read; for who only asks for names and states.
 */
export function dataConverter(keys: PayloadKeys | null = null): DataConverter {
  if (keys === null) return {};
  return { failureConverterPath: FAILURE_CONVERTER_PATH, payloadCodecs: [createPayloadCodec(keys)] };
}
