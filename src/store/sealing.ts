import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

/** Length of every key here: AES-256. */
export const KEY_BYTES = 32;

const VERSION = 'v1';
const ALGORITHM = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** What was sealed and does not open: another key or context, or it was altered. Says nothing of its content. */
export class SealError extends Error {
  constructor(context: string, reason: string) {
    super(`What was sealed as "${context}" cannot be opened: ${reason}.`);
    this.name = 'SealError';
  }
}

/**
 * Encrypts `plaintext` (AES-256-GCM) into nonce, ciphertext and tag.
 *
 * `context` says what it is and of which row; it is not kept in the result and has to be given again to open it, so what
 * was moved to another row or column does not open.
 */
export function sealBytes(key: Buffer, context: string, plaintext: Uint8Array): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(Buffer.from(context));
  return Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

/**
 * Opens what `sealBytes` made.
 *
 * @throws {SealError} when the key or the context is another one, or it was altered.
 */
export function openBytes(key: Buffer, context: string, sealed: Uint8Array): Buffer {
  if (sealed.length < NONCE_BYTES + TAG_BYTES) throw new SealError(context, 'it was cut');
  const decipher = createDecipheriv(ALGORITHM, key, sealed.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES });
  decipher.setAAD(Buffer.from(context));
  decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
  } catch {
    throw new SealError(context, 'the key or the context is another one, or the text was altered');
  }
}

/** As `sealBytes`, from text into `v1.<nonce>.<ciphertext and tag>`, base64url. */
export function seal(key: Buffer, context: string, plaintext: string): string {
  const sealed = sealBytes(key, context, Buffer.from(plaintext));
  return `${VERSION}.${sealed.toString('base64url', 0, NONCE_BYTES)}.${sealed.toString('base64url', NONCE_BYTES)}`;
}

/**
 * Opens what `seal` made.
 *
 * @throws {SealError} when the key or the context is another one, or the text was altered.
 */
export function open(key: Buffer, context: string, sealed: string): string {
  const [version, nonce, body, ...rest] = sealed.split('.');
  if (version !== VERSION || nonce === undefined || body === undefined || rest.length > 0) {
    throw new SealError(context, `it has not the form ${VERSION}.<nonce>.<ciphertext>`);
  }
  const bytes = [Buffer.from(nonce, 'base64url'), Buffer.from(body, 'base64url')] as const;
  if (bytes[0].length !== NONCE_BYTES) throw new SealError(context, 'it was cut');
  return openBytes(key, context, Buffer.concat(bytes)).toString('utf8');
}
