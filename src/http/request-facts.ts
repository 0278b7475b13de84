import type { Request } from 'express';
import type { RequestFacts } from '../registration/event.ts';

/** Headers in which a trusted proxy puts TLS fingerprints, in lower case; null where there is none. */
export interface FingerprintHeaders {
  ja3: string | null;
  ja4: string | null;
}

/** `app.get('trust proxy fn')`: says whether the hop with this address is trusted. */
type TrustProxy = (address: string, hop: number) => boolean;

/**
 * What Actions are told of a request. Address and host come from `X-Forwarded-*` only through trusted proxies, and a
 * fingerprint counts only when the very peer of the connection is one: anybody could send the header.
 */
export function requestFacts(req: Request, headers: FingerprintHeaders): RequestFacts {
  const isTrusted = req.app.get('trust proxy fn') as TrustProxy;
  const fromProxy = isTrusted(req.socket.remoteAddress ?? '', 0);
  const language = req.acceptsLanguages()[0];
  const userAgent = req.get('user-agent');
  const ja3 = fromProxy ? header(req, headers.ja3) : undefined;
  const ja4 = fromProxy ? header(req, headers.ja4) : undefined;
  return {
    ip: req.ip ?? '',
    hostname: req.hostname ?? '',
    method: req.method,
    ...(language === undefined || language === '*' ? {} : { language }),
    ...(userAgent === undefined ? {} : { userAgent }),
    ...(ja3 === undefined ? {} : { ja3 }),
    ...(ja4 === undefined ? {} : { ja4 }),
  };
}

/** The header's value, if it came once: Node joins several, and then a sender may have put in its own before the proxy. */
function header(req: Request, name: string | null): string | undefined {
  const value = name === null ? undefined : req.get(name);
  return value === '' || value?.includes(', ') ? undefined : value;
}
