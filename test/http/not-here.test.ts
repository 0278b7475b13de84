import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { operationsOf, readDocument } from '../contract/document.ts';
import { bearer, send, startTestApp, type TestApp } from './test-app.ts';

const page = readFileSync(new URL('../../docs/not-here.md', import.meta.url), 'utf8');
const listed = page.split('\n')
  .filter((line) => line.startsWith('| `'))
  .flatMap((line) => [...line.split('|')[1]!.matchAll(/`([A-Z]+) (\/[^`]+)`/g)])
  .map(([, method, path]) => ({ method: method!, path: path!.replace('{id}', 'nothing-of-this-name') }));

const SDK = new URL('../../node_modules/auth0/dist/cjs/management/api/', import.meta.url);

interface Request {
  method: string;
  /** Its parameters are `{}`. */
  path: string;
}

const requestOf = (method: string, path: string): Request => ({ method, path: path.replaceAll(/\{\w+\}/g, '{}') });

/** Every request that the ManagementClient of npm `auth0` can make, as its code has them. */
function requestsOfSdk(): Request[] {
  const code = readdirSync(SDK, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.js')).map((name) => readFileSync(new URL(name, SDK), 'utf8')).join('\n');
  const found = [...code.matchAll(/core\.url\.join\(.*, ["`]([^"`]*)["`]\),\s*method: "([A-Z]+)"/g)];
  // One that is written in a new way must not be overlooked.
  expect(found.length).toBe(code.split('core.url.join(').length - 1);
  return found.map(([, path, method]) => requestOf(method!, `/api/v2/${path!.replaceAll(/\$\{core\.url\.encodePathParam\((\w+)\)\}/g, '{$1}')}`));
}

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.close());

it('the page of what is not here lists paths of each part of Auth0\'s API', () => {
  expect(listed.length).toBeGreaterThan(40);
  expect(listed).toContainEqual({ method: 'GET', path: '/authorize' });
  expect(listed).toContainEqual({ method: 'GET', path: '/api/v2/organizations' });
});

it.each(listed)('$method $path, which the page lists, is answered with 404 and the name of the page', async ({ method, path }) => {
  const { status, body } = await send(app.url + path, { method, headers: await bearer(app), ...(method === 'GET' ? {} : { body: '{}' }) });
  expect(status).toBe(404);
  expect(JSON.stringify(body)).toContain('docs/not-here.md');
});

it('whatever the ManagementClient of npm auth0 asks for is here, or the page tells that it is not', async () => {
  const here = operationsOf(await readDocument(app)).map(({ method, path }) => requestOf(method.toUpperCase(), path));
  const told = [...page.matchAll(/`([A-Z]+) (\/api\/v2\/[^`]+)`/g)].map(([, method, path]) => requestOf(method!, path!));
  const isBelow = (path: string, folder: string) => path === folder || path.startsWith(`${folder}/`);
  // As the page says, nothing below its paths is here either; of one that is here in part, it has to name each request.
  const isTold = (request: Request) => told.some((row) =>
    (row.method === request.method && row.path === request.path) || (isBelow(request.path, row.path) && !here.some(({ path }) => isBelow(path, row.path))));
  const isHere = (request: Request) => here.some(({ method, path }) => method === request.method && path === request.path);

  const asked = requestsOfSdk();
  expect(asked.length).toBeGreaterThan(400);
  expect(asked.filter((request) => !isHere(request) && !isTold(request))).toEqual([]);
});

it('what is no path of Auth0\'s is not told of that page', async () => {
  const { status, body } = await send(`${app.url}/robots.txt`);
  expect(status).toBe(404);
  expect(body).toEqual({ statusCode: 404, error: 'Not Found', message: 'Not Found' });
});
