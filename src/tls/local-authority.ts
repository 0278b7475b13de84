import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { isIP } from 'node:net';
import { makeFile, readIfThere, replaceFile, type TlsPaths } from '../data-dir.ts';
import { StartError } from '../start-error.ts';
import type { CertificatePair, ReadPair } from './certificate-pair.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
const RENEW_BEFORE_DAYS = 30;
/** The authority of `--https`: it signs this installation's certificate and nothing else. */
export interface LocalAuthority {
  /** In PEM. */
  certificate: string;
  privateKey: KeyObject;
}

/**
 * Opens the authority that is kept in the data directory, making it on the first start. Of several processes that make
 * it at once, all get the same.
 *
 * @throws {StartError} when it is damaged, incomplete or has run out.
 */
export async function openAuthority(paths: TlsPaths): Promise<LocalAuthority> {
  await mkdir(paths.folder, { recursive: true });
  const kept = await readIfThere(paths.ca);
  const keptKey = await readIfThere(paths.caKey);
  const advice = `remove the folder ${paths.folder} and start again for a new one, which your clients then have to be told (NODE_EXTRA_CA_CERTS)`;
  if (kept !== null && keptKey === null) {
    throw new StartError(`The certificate ${paths.ca} is there, but its key ${paths.caKey} is not: put it back, or ${advice}.`);
  }
  const key = keptKey ?? (await makeFile(paths.caKey, newKey(), 0o600));
  const certificate = kept ?? (await makeFile(paths.ca, (await issuer()).issueAuthority(createPrivateKey(key)), 0o644));
  const problem = problemOf(certificate, key);
  if (problem !== null) throw new StartError(`The local certificate authority ${paths.ca} ${problem}: ${advice}.`);
  return { certificate, privateKey: createPrivateKey(key) };
}

/**
 * The server's certificate under a local authority, which is made when there is none, it lacks one of the names or ends
 * within 30 days. Its key stays.
 *
 * @param hosts names and addresses at which the server is reached, beside `localhost`, `127.0.0.1` and `::1`.
 */
export function localPair(authority: LocalAuthority, paths: TlsPaths, hosts: string[]): ReadPair {
  const names = [...new Set(['localhost', '127.0.0.1', '::1', ...hosts.flatMap(canonical)])];
  return async (): Promise<CertificatePair> => {
    let key = await readIfThere(paths.key);
    if (key === null || !isKey(key)) {
      key = newKey();
      await replaceFile(paths.key, key, 0o600);
    }
    const kept = await readIfThere(paths.cert);
    if (kept !== null && serves(kept, { key, names, authority })) return { cert: kept, key };
    const cert = (await issuer()).issueServerCertificate({ publicKey: createPublicKey(key), authorityKey: authority.privateKey, names });
    await replaceFile(paths.cert, cert, 0o644);
    return { cert, key };
  };
}

/** Loaded only where a certificate is made: 60 ms and 17 MB. */
const issuer = () => import('./issue-certificate.ts');

/** Null when the pair is an authority that signs today. */
function problemOf(certificate: string, key: string): string | null {
  try {
    const parsed = new X509Certificate(certificate);
    if (!parsed.ca || !parsed.checkPrivateKey(createPrivateKey(key))) return 'and its key do not belong together';
    return parsed.validToDate.getTime() - Date.now() < RENEW_BEFORE_DAYS * DAY_MS ? `ends on ${parsed.validTo}` : null;
  } catch (error) {
    return `or its key is damaged (${(error as Error).message})`;
  }
}

function serves(certificate: string, wanted: { key: string; names: string[]; authority: LocalAuthority }): boolean {
  const parsed = parse(certificate);
  if (parsed === null) return false;
  return (
    parsed.verify(createPublicKey(wanted.authority.privateKey)) &&
    parsed.checkPrivateKey(createPrivateKey(wanted.key)) &&
    parsed.validToDate.getTime() - Date.now() >= RENEW_BEFORE_DAYS * DAY_MS &&
    wanted.names.every((name) => (isIP(name) === 0 ? parsed.checkHost(name) : parsed.checkIP(name)) !== undefined)
  );
}

function parse(certificate: string): X509Certificate | null {
  try {
    return new X509Certificate(certificate);
  } catch {
    // Damaged: as good as none, as another one can be made.
    return null;
  }
}

function isKey(text: string): boolean {
  try {
    createPrivateKey(text);
    return true;
  } catch {
    return false;
  }
}

function newKey(): string {
  return generateKeyPairSync('ec', { namedCurve: 'P-256', privateKeyEncoding: { type: 'pkcs8', format: 'pem' }, publicKeyEncoding: { type: 'spki', format: 'pem' } }).privateKey;
}

/** As certificates write it; what is no host at all is left to whoever listens there to say. */
function canonical(host: string): string[] {
  const [address = ''] = host.split('%');
  const url = `http://${isIP(address) === 6 ? `[${address}]` : host}`;
  return URL.canParse(url) ? [new URL(url).hostname.replace(/^\[|\]$/g, '')] : [];
}
