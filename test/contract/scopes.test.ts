import { generateKeyPair, SignJWT, UnsecuredJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SCOPES } from '../../src/domain/scopes.ts';
import { createAuth } from '../../src/http/auth.ts';
import { createSigningKeys } from '../../src/store/signing-keys.ts';
import { CLIENT_ID, send, startTestApp, type TestApp } from '../http/test-app.ts';
import { type Operation, operationsOf, readDocument, urlOf } from './document.ts';

const ALL = SCOPES.join(' ');

let app: TestApp;
let guarded: Operation[];
/** A token for each scope alone. */
const alone = new Map<string, string>();

beforeAll(async () => {
  app = await startTestApp();
  guarded = operationsOf(await readDocument(app)).filter(({ scopes }) => scopes.length > 0);
  const auth = createAuth({ signingKeys: createSigningKeys(app) });
  for (const scope of SCOPES) alone.set(scope, await auth.issueToken({ clientId: CLIENT_ID, scopes: [scope], audience: `${app.url}/api/v2/`, issuer: `${app.url}/` }));
});
afterAll(() => app.close());

/** Signs a token as ours are, with what `change` changes. */
async function sign(change: (token: SignJWT) => SignJWT = (token) => token): Promise<string> {
  const { kid, privateKey } = await createSigningKeys(app).current();
  const token = new SignJWT({ scope: ALL, gty: 'client-credentials', azp: CLIENT_ID })
    .setProtectedHeader({ alg: 'RS256', typ: 'JWT', kid })
    .setIssuer(`${app.url}/`)
    .setSubject(`${CLIENT_ID}@clients`)
    .setAudience(`${app.url}/api/v2/`)
    .setIssuedAt()
    .setExpirationTime('1h');
  return await change(token).sign(privateKey);
}

async function statusOf(operation: Operation, token: string | null): Promise<number> {
  const headers = token === null ? {} : { authorization: `Bearer ${token}` };
  return (await send(urlOf(app, operation), { method: operation.method.toUpperCase(), headers })).status;
}

async function expectAll(token: string | null, status: number): Promise<void> {
  for (const operation of guarded) expect(await statusOf(operation, token), operation.operationId).toBe(status);
}

describe('every endpoint that asks for a scope refuses', () => {
  it('a request without a token', () => expectAll(null, 401));

  it('what is no token', () => expectAll('not-a-token', 401));

  it('an expired token', async () => {
    await expectAll(await sign((token) => token.setIssuedAt(1_000).setExpirationTime(2_000)), 401);
  });

  it('a token that was changed after it was signed', async () => {
    const [head, body = '', signature] = (await sign()).split('.');
    const claims = JSON.parse(Buffer.from(body, 'base64url').toString()) as object;
    const changed = Buffer.from(JSON.stringify({ ...claims, sub: 'somebody-else' })).toString('base64url');
    await expectAll([head, changed, signature].join('.'), 401);
  });

  it('a token without a signature (`alg: none`)', async () => {
    const claims = { scope: ALL, azp: CLIENT_ID };
    await expectAll(new UnsecuredJWT(claims).setAudience(`${app.url}/api/v2/`).setExpirationTime('1h').encode(), 401);
  });

  it('a token that somebody else has signed under the name of our key', async () => {
    const { kid } = await createSigningKeys(app).current();
    const { privateKey } = await generateKeyPair('RS256');
    const forged = await new SignJWT({ scope: ALL, azp: CLIENT_ID })
      .setProtectedHeader({ alg: 'RS256', kid })
      .setAudience(`${app.url}/api/v2/`)
      .setExpirationTime('1h')
      .sign(privateKey);
    await expectAll(forged, 401);
  });

  it('a token for another API', async () => {
    await expectAll(await sign((token) => token.setAudience('https://orders.example.com/')), 401);
  });

  it('a token that has only another scope, whichever it is', async () => {
    for (const operation of guarded) {
      for (const [scope, token] of alone) {
        if (operation.scopes.includes(scope)) continue;
        expect(await statusOf(operation, token), `${operation.operationId} with ${scope}`).toBe(403);
      }
    }
  });
});

it('every endpoint lets each of its scopes pass, alone', async () => {
  for (const operation of guarded) {
    for (const scope of operation.scopes) {
      const status = await statusOf(operation, alone.get(scope)!);
      expect([401, 403], `${operation.operationId} with ${scope}: ${status}`).not.toContain(status);
      expect(status, operation.operationId).toBeLessThan(500);
    }
  }
});
