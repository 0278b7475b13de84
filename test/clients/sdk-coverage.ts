import { expect } from 'vitest';
import { operationsOf, readDocument } from '../contract/document.ts';
import type { HttpsUsher } from './https-usher.ts';

/** Which part of the Management API, by the document's tags, each file calls through both majors of npm `auth0`. */
const PARTS = {
  actions: ['actions'],
  applications: ['clients', 'connections', 'client-grants', 'resource-servers', 'tenants'],
  jobs: ['jobs'],
  users: ['users', 'users-by-email', 'roles', 'logs', 'tickets'],
};

/** Operations that npm `auth0` 4 has no method for. */
const NOT_IN_4 = /_action_module|^get_client_grant$/;

/** Fails for an operation of Auth0 in this part that one of the SDKs has not asked for by now, and for one in no part. */
export async function expectEveryOperation({ app, asked }: HttpsUsher, part: keyof typeof PARTS): Promise<void> {
  const operations = operationsOf(await readDocument(app)).filter(({ isOurs, path }) => !isOurs && path.startsWith('/api/v2/'));
  expect(new Set(operations.map(({ tag }) => tag))).toEqual(new Set(Object.values(PARTS).flat()));

  const missing = ['7', '4'].map((major) => {
    const requests = asked.filter(({ client }) => client.startsWith(`node-auth0 ${major}.`)).map(({ method, path }) => `${method.toLowerCase()} ${path}`);
    const isAsked = ({ method, path }: { method: string; path: string }) => {
      const form = new RegExp(`^${method} ${path.replaceAll(/\{\w+\}/g, '[^/]+')}$`);
      return requests.some((request) => form.test(request));
    };
    const ofPart = operations.filter(({ tag, operationId }) => PARTS[part].includes(tag) && !(major === '4' && NOT_IN_4.test(operationId)));
    return [major, ofPart.filter((operation) => !isAsked(operation)).map(({ operationId }) => operationId)];
  });
  expect(missing).toEqual([['7', []], ['4', []]]);
}
