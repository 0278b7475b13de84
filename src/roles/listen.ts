import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { DEFAULT_PORT } from '../config.ts';
import { LIMITS } from '../domain/limits.ts';
import type { Logger } from '../logger.ts';
import { StartError } from '../start-error.ts';
import type { ReadPair } from '../tls/certificate-pair.ts';
import { followCertificate } from '../tls/follow-certificate.ts';

/** How far above the default port a free one is looked for. */
const PORTS_TRIED = 100;
/** A connection that has not finished its TLS handshake is not one of HTTP yet, so that nothing else would end it. */
const HANDSHAKE_TIMEOUT_MS = 10_000;

/** A server that takes requests. */
export interface Listening {
  server: http.Server | https.Server;
  /** Its origin: `https://127.0.0.1:3000`. */
  address: string;
  port: number;
}

/**
 * Serves the app over HTTP, or over HTTPS with a certificate that may change while it runs.
 *
 * @param options.port null: the default one, or the next free one.
 * @param options.readPair null: plain HTTP.
 * @param options.lookEveryMs how often the certificate is read. @default 5 s
 * @throws {StartError} when it cannot listen there, or the certificate cannot be used.
 */
export async function listen(
  app: http.RequestListener,
  options: { port: number | null; host: string; readPair: ReadPair | null; logger: Logger; lookEveryMs?: number },
): Promise<Listening> {
  const { host, readPair, logger } = options;
  if (readPair === null) {
    const server = http.createServer({ maxHeaderSize: LIMITS.requestHeaderBytes }, app);
    return listening(server, 'http', host, await bind(server, { ...API_PLACE, port: options.port, host }));
  }
  const served = await readPair();
  const server = https.createServer({ ...served, maxHeaderSize: LIMITS.requestHeaderBytes, handshakeTimeout: HANDSHAKE_TIMEOUT_MS }, app);
  const port = await bind(server, { ...API_PLACE, port: options.port, host });
  followCertificate(server, { readPair, served, logger, everyMs: options.lookEveryMs });
  return listening(server, 'https', host, port);
}

function listening(server: Listening['server'], scheme: string, host: string, port: number): Listening {
  return { server, address: originOf(scheme, host, port), port };
}

/** An IPv6 address stands in brackets. */
export function originOf(scheme: string, host: string, port: number): string {
  return `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Where a server is to listen, and the variables that say so. */
export interface Place {
  /** Null: the default one, or the next free one. */
  port: number | null;
  host: string;
  defaultPort: number;
  portVariable: string;
  hostVariable: string;
}

const API_PLACE = { defaultPort: DEFAULT_PORT, portVariable: 'USHER_PORT', hostVariable: 'USHER_HOST' };

/**
 * Makes the server listen.
 *
 * @returns the port.
 * @throws {StartError} when it cannot.
 */
export async function bind(server: Listening['server'], { port, host, defaultPort, portVariable, hostVariable }: Place): Promise<number> {
  // By listening, not by looking first: another program may take a port between the two.
  for (let tried = port ?? defaultPort; ; tried++) {
    server.listen(tried, host);
    try {
      await once(server, 'listening');
      return (server.address() as AddressInfo).port;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code !== 'EADDRINUSE') {
        throw new StartError(`Usher cannot listen on ${host}:${tried} (${code ?? message}): set ${hostVariable} and ${portVariable} to an address of this machine.`, { cause: error });
      }
      if (port !== null) {
        throw new StartError(`Port ${port} (${portVariable}) is in use: end what listens there, or set ${portVariable} to another one.`, { cause: error });
      }
      if (tried === defaultPort + PORTS_TRIED - 1) {
        throw new StartError(`The ports from ${defaultPort} to ${tried} are in use: set ${portVariable} to one that is free.`, { cause: error });
      }
    }
  }
}
