import type { TlsPaths } from '../data-dir.ts';
import { ownPair, type ReadPair } from './certificate-pair.ts';
import { localPair, openAuthority } from './local-authority.ts';
import { readBundle, trustAlso } from './trust.ts';

/** How a role speaks TLS. */
export interface Tls {
  /** Authorities in PEM that it trusts beside Node's own; its sandboxes trust them, too. */
  trusted: string[];
  /** The API's certificate; null: it speaks plain HTTP. */
  readPair: ReadPair | null;
}

/**
 * Makes this process trust what it is to trust, and finds the API's certificate.
 *
 * @param options.https with a certificate under the local authority.
 * @param options.own paths of a certificate and its key, in place of `https`.
 * @param options.extraCaCerts path of a bundle of further authorities.
 * @param options.hosts names and addresses for a certificate under the local authority.
 * @throws {StartError} when the bundle or the local authority cannot be used.
 */
export async function prepareTls(options: {
  https: boolean;
  own: { cert: string; key: string } | null;
  extraCaCerts: string | null;
  paths: TlsPaths;
  hosts: string[];
}): Promise<Tls> {
  const { own, paths } = options;
  const authority = options.https ? await openAuthority(paths) : null;
  const trusted = [
    ...(options.extraCaCerts === null ? [] : await readBundle(options.extraCaCerts)),
    ...(authority === null ? [] : [authority.certificate]),
  ];
  trustAlso(trusted);
  if (own !== null) return { trusted, readPair: ownPair(own.cert, own.key) };
  return { trusted, readPair: authority === null ? null : localPair(authority, paths, options.hosts) };
}
