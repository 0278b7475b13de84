import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SCOPES } from '../../src/domain/scopes.ts';
import { send, startTestApp, type TestApp } from '../http/test-app.ts';
import { type Operation, operationsOf, readDocument } from './document.ts';

let app: TestApp;
let operations: Operation[];

beforeAll(async () => {
  app = await startTestApp();
  operations = operationsOf(await readDocument(app));
});
afterAll(() => app.close());

/** What Express serves, as `get /path/{parameter}`. */
function servedRoutes(): string[] {
  interface Layer {
    route?: { path: string; methods: Record<string, boolean> };
    handle: { stack?: Layer[] };
  }
  const walk = (layers: Layer[]): string[] =>
    layers.flatMap(({ route, handle }) => {
      if (route === undefined) return walk(handle.stack ?? []);
      return Object.keys(route.methods).map((method) => `${method} ${route.path.replaceAll(/:(\w+)/g, '{$1}')}`);
    });
  return walk((app.express as unknown as { router: { stack: Layer[] } }).router.stack);
}

describe('the OpenAPI document', () => {
  it('is OpenAPI 3.1, and tells every route that is served, and no other', async () => {
    expect((await readDocument(app)).openapi).toMatch(/^3\.1\./);
    const described = operations.map(({ method, path }) => `${method} ${path}`);
    expect(described.length).toBeGreaterThan(10);
    expect(described.toSorted()).toEqual(servedRoutes().toSorted());
  });

  it('names each operation once', () => {
    const names = operations.map(({ operationId }) => operationId);
    expect(new Set(names).size).toBe(names.length);
  });

  it('asks for a scope on every endpoint of the Management API, and only for scopes that there are', () => {
    for (const { path, scopes, operationId } of operations) {
      for (const scope of scopes) expect(SCOPES, operationId).toContain(scope);
      if (path.startsWith('/api/v2/')) expect(scopes.length, operationId).toBeGreaterThan(0);
    }
  });

  it('marks what Auth0 does not have', () => {
    for (const { path, isOurs, operationId } of operations) {
      const isAuth0s = /^\/(api\/v2|oauth|dbconnections|passwordless|\.well-known)\//.test(path);
      expect(isOurs, operationId).toBe(!isAuth0s);
    }
  });

  it('is also a page without scripts', async () => {
    const response = await fetch(`${app.url}/openapi`);
    const html = await response.text();
    expect(response.headers.get('content-type')).toMatch(/^text\/html/);
    expect(html).not.toContain('<script');
    for (const { path, method } of operations) expect(html).toContain(`<span class="method">${method}</span> <code>${path}</code>`);
  });

  it('refuses what it does not know in the words of Auth0', async () => {
    const { body } = await send(`${app.url}/openapi.json?verbose=1`);
    expect(body).toMatchObject({ statusCode: 400, errorCode: 'invalid_query_string', message: "Query validation error: 'Additional properties not allowed: verbose'." });
  });
});
