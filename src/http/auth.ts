import type { RequestHandler } from 'express';
import { errors, jwtVerify, SignJWT, type JWTPayload } from 'jose';
import { MANAGEMENT_AUDIENCE } from '../store/clients.ts';
import type { SigningKeys } from '../store/signing-keys.ts';
import { managementError, type ApiError } from '../domain/api-error.ts';
import { basicCredentials } from './authentication/token-request.ts';

/** As long as Auth0's Management API tokens live. */
export const TOKEN_SECONDS = 86_400;

/** Who calls the Management API; `requireScope` leaves it in `res.locals.token`. */
export interface VerifiedToken {
  clientId: string;
  scopes: string[];
}

export interface TokenRequest {
  clientId: string;
  scopes: string[];
  /** For our Management API where `isManagementAudience` is true, for another API otherwise. */
  audience: string;
  /** How long it is good. @default TOKEN_SECONDS */
  seconds?: number;
  /** Origin with a slash at the end, as Auth0 writes it: `https://tenant.example/`. */
  issuer: string;
}

export interface Auth {
  issueToken(request: TokenRequest): Promise<string>;
  /**
   * Lets a request pass whose bearer token has at least one of the scopes.
   * Answers 401 without a token that we have issued, 403 `insufficient_scope` without the scope (contract §4.4).
   */
  requireScope(...anyOf: string[]): RequestHandler;
  /** The same, but a client may also show its id and secret by HTTP Basic, and then has all scopes that it was granted. */
  requireScopeOrSecret(...anyOf: string[]): RequestHandler;
}

/** The client of an id and a secret with the scopes that it was granted; null when one of them is wrong. */
export type SecretLogin = (id: string, secret: string) => Promise<VerifiedToken | null>;

/**
 * True for the audience of a Management API, `https://<domain>/api/v2/`, under whatever domain its caller knows us:
 * Usher has no address of its own that it could compare with. No other API may have such an audience, as its tokens would
 * open this one, nor the name under which the store has ours, as its grants would be those of this one.
 */
export function isManagementAudience(audience: string): boolean {
  return audience === MANAGEMENT_AUDIENCE || (URL.canParse(audience) && new URL(audience).pathname === '/api/v2/');
}

/**
 * Issues and verifies the tokens of the Management API (RS256).
 *
 * @param deps.secretLogin - without it nobody gets in by HTTP Basic.
 */
export function createAuth({ signingKeys, secretLogin }: { signingKeys: SigningKeys; secretLogin?: SecretLogin }): Auth {
  const byToken = async (authorization: string): Promise<VerifiedToken> => {
    const bearer = /^Bearer +(\S+)$/i.exec(authorization)?.[1];
    if (bearer === undefined) throw unauthorized('Missing authentication');
    return await verify(signingKeys, bearer);
  };
  const byTokenOrSecret = async (authorization: string): Promise<VerifiedToken> => {
    const basic = basicCredentials(authorization);
    if (basic === null || secretLogin === undefined) return await byToken(authorization);
    const client = basic.id.includes('\0') ? null : await secretLogin(basic.id, basic.secret);
    if (client === null) throw unauthorized('The client id or the client secret is wrong');
    return client;
  };

  return {
    async issueToken({ clientId, scopes, audience, issuer, seconds = TOKEN_SECONDS }) {
      const { kid, privateKey } = await signingKeys.current();
      return await new SignJWT({ scope: scopes.join(' '), gty: 'client-credentials', azp: clientId })
        .setProtectedHeader({ alg: 'RS256', typ: 'JWT', kid })
        .setIssuer(issuer)
        .setSubject(`${clientId}@clients`)
        .setAudience(audience)
        .setIssuedAt()
        .setExpirationTime(`${seconds} seconds`)
        .sign(privateKey);
    },

    requireScope: (...anyOf) => guard(byToken, anyOf),
    requireScopeOrSecret: (...anyOf) => guard(byTokenOrSecret, anyOf),
  };
}

/** @param identify - reads the header `Authorization`, which may be empty. */
function guard(identify: (authorization: string) => Promise<VerifiedToken>, anyOf: string[]): RequestHandler {
  return async (req, res, next) => {
    const token = await identify(req.headers.authorization ?? '');
    if (!anyOf.some((scope) => token.scopes.includes(scope))) {
      throw managementError(403, `Insufficient scope, expected any of: ${anyOf.join(',')}`, 'insufficient_scope');
    }
    res.locals['token'] = token;
    next();
  };
}

async function verify(signingKeys: SigningKeys, bearer: string): Promise<VerifiedToken> {
  let payload: JWTPayload;
  try {
    ({ payload } = await jwtVerify(
      bearer,
      async ({ kid }) => {
        // A thumbprint, or it is none of ours; what comes from outside may hold characters that the store refuses.
        const key = /^[\w-]{1,100}$/.test(kid ?? '') ? await signingKeys.find(kid ?? '') : null;
        if (key === null) throw new errors.JWSSignatureVerificationFailed();
        return key;
      },
      { algorithms: ['RS256'], requiredClaims: ['exp'] },
    ));
  } catch (error) {
    if (error instanceof errors.JOSEError) throw unauthorized(problemOf(error));
    throw error;
  }
  const audiences = [payload.aud ?? []].flat();
  if (!audiences.some(isManagementAudience)) throw unauthorized('Bad audience in the JSON Web Token');
  const { azp: clientId, scope } = payload;
  if (typeof clientId !== 'string' || typeof scope !== 'string') throw unauthorized('Invalid token');
  return { clientId, scopes: scope.split(' ') };
}

function problemOf(error: errors.JOSEError): string {
  if (error instanceof errors.JWTExpired) return 'Expired token received for JSON Web Token validation';
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'Invalid signature received for JSON Web Token validation';
  return 'Invalid token';
}

function unauthorized(message: string): ApiError {
  const error = managementError(401, message);
  error.headers['www-authenticate'] = 'Bearer';
  return error;
}
