import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

/** Length of every key here: AES-256. */
export const KEY_BYTES = 32;

const VERSION = 'v1';
const ALGORITHM = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** A sealed text that does not open: another key or context, or it was altered. Says nothing of its content. */
export class SealError extends Error {
  constructor(context: string, reason: string) {
    super(`What was sealed as "${context}" cannot be opened: ${reason}.`);
    this.name = 'SealError';
  }
}

/**
 * Encrypts `plaintext` (AES-256-GCM) into `v1.<nonce>.<ciphertext and tag>`, base64url.
 *
 * `context` says what the text is and of which row; it is not kept in the result and has to be given again to open it,
 * so a sealed text moved to another row or column does not open.
 */
export function seal(key: Buffer, context: string, plaintext: string): string {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(Buffer.from(context));
  const sealed = Buffer.concat([cipher.update(plaintext, 'utf8'), cipher.final(), cipher.getAuthTag()]);
  return `${VERSION}.${nonce.toString('base64url')}.${sealed.toString('base64url')}`;
}

/**
 * Opens what `seal` made.
 *
 * @throws {SealError} when the key or the context is another one, or the text was altered.
 */
export function open(key: Buffer, context: string, sealed: string): string {
  const [version, nonceText, bodyText, ...rest] = sealed.split('.');
  if (version !== VERSION || nonceText === undefined || bodyText === undefined || rest.length > 0) {
    throw new SealError(context, `it has not the form ${VERSION}.<nonce>.<ciphertext>`);
  }
  const nonce = Buffer.from(nonceText, 'base64url');
  const body = Buffer.from(bodyText, 'base64url');
  if (nonce.length !== NONCE_BYTES || body.length < TAG_BYTES) throw new SealError(context, 'it was cut');
  const decipher = createDecipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(Buffer.from(context));
  decipher.setAuthTag(body.subarray(-TAG_BYTES));
  try {
    return decipher.update(body.subarray(0, -TAG_BYTES), undefined, 'utf8') + decipher.final('utf8');
  } catch {
    throw new SealError(context, 'the key or the context is another one, or the text was altered');
  }
}
