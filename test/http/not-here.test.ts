import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { bearer, send, startTestApp, type TestApp } from './test-app.ts';

const page = readFileSync(new URL('../../docs/not-here.md', import.meta.url), 'utf8');
const listed = page.split('\n')
  .filter((line) => line.startsWith('| `'))
  .flatMap((line) => [...line.split('|')[1]!.matchAll(/`([A-Z]+) (\/[^`]+)`/g)])
  .map(([, method, path]) => ({ method: method!, path: path!.replace('{id}', 'nothing-of-this-name') }));

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

it('what is no path of Auth0\'s is not told of that page', async () => {
  const { status, body } = await send(`${app.url}/robots.txt`);
  expect(status).toBe(404);
  expect(body).toEqual({ statusCode: 404, error: 'Not Found', message: 'Not Found' });
});
