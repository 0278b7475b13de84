import { afterAll, beforeAll, expect, it } from 'vitest';
import { readTenantSettings } from '../../src/store/tenant-settings.ts';
import { type Answer, bearer, send, startTestApp, type TestApp } from './test-app.ts';

let app: TestApp;
let headers: { authorization: string };

beforeAll(async () => {
  app = await startTestApp();
  headers = await bearer(app);
});

afterAll(async () => {
  await app.close();
});

const patch = async (body: unknown): Promise<Answer> =>
  await send(`${app.url}/api/v2/tenants/settings`, { method: 'PATCH', headers: { ...headers, 'content-type': 'application/json' }, body: JSON.stringify(body) });

it("has Auth0's defaults until it is changed, setting by setting", async () => {
  const read = async (query = '') => (await send(`${app.url}/api/v2/tenants/settings${query}`, { headers })).body;
  expect(await read()).toEqual({ flags: { enable_public_signup_user_exists_error: true } });
  expect((await patch({ friendly_name: 'Usher', support_email: 'help@example.com' })).status).toBe(200);
  await patch({ flags: { enable_public_signup_user_exists_error: false }, support_email: null });
  expect(await read()).toEqual({ flags: { enable_public_signup_user_exists_error: false }, friendly_name: 'Usher' });
  expect(await read('?fields=friendly_name')).toEqual({ friendly_name: 'Usher' });
  expect(await readTenantSettings(app.database.db)).toEqual({ tellsUserExists: false, friendlyName: 'Usher', supportEmail: null });
});

it('refuses settings that are not here', async () => {
  expect(await patch({ flags: { no_such_flag: true } })).toMatchObject({ status: 400, body: { message: "Payload validation error: 'Additional properties not allowed: no_such_flag' on property flags." } });
});
