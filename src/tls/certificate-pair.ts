import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { StartError } from '../start-error.ts';

/** What a TLS server shows and proves, in PEM: its certificate with those between it and an authority, and its private key. */
export interface CertificatePair {
  cert: string;
  key: string;
}

/** Gives the pair as it stands now. @throws {StartError} when it cannot be used, with what to do. */
export type ReadPair = () => Promise<CertificatePair>;

/** The pair of the variables `USHER_TLS_CERT` and `USHER_TLS_KEY`, read anew at each call. */
export function ownPair(certPath: string, keyPath: string): ReadPair {
  return async () => {
    const cert = await readPem('USHER_TLS_CERT', certPath);
    const key = await readPem('USHER_TLS_KEY', keyPath);
    try {
      createSecureContext({ cert, key });
    } catch (error) {
      throw new StartError(
        `The certificate ${certPath} (USHER_TLS_CERT) and the key ${keyPath} (USHER_TLS_KEY) cannot be used together (${(error as Error).message}): ` +
          "give the server's certificate in PEM, followed by those between it and its authority, and its private key in PEM, without a password.",
        { cause: error },
      );
    }
    return { cert, key };
  };
}

/**
 * Reads a file that a variable names.
 *
 * @throws {StartError} when it cannot be read.
 */
export async function readPem(variable: string, path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new StartError(`${variable} names ${path}, which cannot be read (${code ?? message}): give the path of a PEM file that this user may read.`, { cause: error });
  }
}
