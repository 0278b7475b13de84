import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newestLog, PASSWORD, send, signUp, startTestApp, type TestApp, validSignUp } from './test-app.ts';

let app: TestApp;

beforeAll(async () => {
  app = await startTestApp();
});

afterAll(async () => {
  await app.close();
});

async function userRow(email: string) {
  return await app.database.db.selectFrom('user_account').selectAll().where('email', '=', email).executeTakeFirst();
}

describe('a sign-up', () => {
  it('is answered in the form of Auth0, with the id without its provider', async () => {
    const { status, body } = await signUp(app, { email: 'plain@example.com' });
    expect(status).toBe(200);
    expect(body).toEqual({ _id: expect.stringMatching(/^[0-9a-f]{24}$/), email: 'plain@example.com', email_verified: false });
    expect((await userRow('plain@example.com'))?.id).toBe(`auth0|${body._id}`);
  });

  it('gives back and keeps every field that was set', async () => {
    const fields = {
      email: 'Full.Fields@Example.com',
      username: 'FullFields',
      phone_number: '+4912345678',
      given_name: 'Full',
      family_name: 'Fields',
      name: 'Full Fields',
      nickname: 'ff',
      picture: 'https://example.com/p.png',
      user_metadata: { plan: 'premium', lang: 'de' },
    };
    const { status, body } = await signUp(app, fields);
    expect(status).toBe(200);
    expect(body).toEqual({ ...fields, _id: expect.any(String), email: 'full.fields@example.com', username: 'fullfields', email_verified: false });
    const row = await userRow('full.fields@example.com');
    expect(row).toMatchObject({ username: 'fullfields', phone_number: '+4912345678' });
    expect(JSON.parse(row?.user_metadata ?? '')).toEqual(fields.user_metadata);
    expect(JSON.parse(row?.profile ?? '')).toEqual({ given_name: 'Full', family_name: 'Fields', name: 'Full Fields', nickname: 'ff', picture: 'https://example.com/p.png' });
  });

  it('can come as a form, metadata in brackets', async () => {
    const form = new URLSearchParams({ ...validSignUp(), email: 'form@example.com', 'user_metadata[plan]': 'basic' });
    const { status, body } = await send(`${app.url}/dbconnections/signup`, { method: 'POST', body: form });
    expect(status).toBe(200);
    expect(body).toMatchObject({ email: 'form@example.com', user_metadata: { plan: 'basic' } });
  });

  it('needs no client_id', async () => {
    const { client_id: _, ...fields } = validSignUp();
    const { status } = await send(`${app.url}/dbconnections/signup`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(fields),
    });
    expect(status).toBe(200);
  });

  it('keeps the password as an argon2id hash and nowhere else', async () => {
    await signUp(app, { email: 'hashed@example.com', password: 'a-Very-unique-Passw0rd' });
    expect((await userRow('hashed@example.com'))?.password_hash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
    expect(app.logText()).not.toContain('a-Very-unique-Passw0rd');
  });

  it('fills the profile like Auth0 where nothing was set', async () => {
    await signUp(app, { email: 'defaults@example.com' });
    expect(JSON.parse((await userRow('defaults@example.com'))?.profile ?? '')).toEqual({
      name: 'defaults@example.com',
      nickname: 'defaults',
      picture: expect.stringMatching(/^https:\/\/s\.gravatar\.com\/avatar\/[0-9a-f]{32}\?/),
    });
  });

  it('is written to the tenant log', async () => {
    await signUp(app, { email: 'logged@example.com' });
    expect(await newestLog(app, 'ss')).toMatchObject({
      type: 'ss',
      user_name: 'logged@example.com',
      user_id: expect.stringMatching(/^auth0\|/),
      connection: 'Username-Password-Authentication',
      client_id: 'test-client',
      strategy: 'auth0',
    });
  });

  it('starts no process when no Action is bound', async () => {
    await signUp(app);
    expect(app.sandbox.pids()).toEqual([]);
  });
});

describe('an e-mail that is taken', () => {
  const userExists = { name: 'BadRequestError', code: 'user_exists', description: 'The user already exists.', statusCode: 400 };

  it('is refused, in another case too, and logged', async () => {
    expect((await signUp(app, { email: 'taken@example.com' })).status).toBe(200);
    const again = await signUp(app, { email: 'TAKEN@Example.COM' });
    expect(again).toMatchObject({ status: 400, body: userExists });
    expect(Object.keys(again.body)).toEqual(Object.keys(userExists));
    expect(await newestLog(app, 'fs')).toMatchObject({ user_name: 'taken@example.com', description: 'The user already exists.' });
  });

  it('is given to exactly one of 50 who ask at once', async () => {
    const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => signUp(app, { email: i % 2 === 0 ? 'race@example.com' : 'RACE@example.com' })));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    for (const { status, body } of answers) {
      if (status !== 200) expect({ status, body }).toEqual({ status: 400, body: userExists });
    }
    const rows = await app.database.db.selectFrom('registration').innerJoin('user_account', 'user_account.id', 'registration.user_id').select('registration.id').where('email', '=', 'race@example.com').execute();
    expect(rows).toHaveLength(1);
  });

  it('and so is a username, which the answer names', async () => {
    await signUp(app, { username: 'test123' });
    const { status, body } = await signUp(app, { username: 'Test123' });
    expect({ status, body }).toEqual({ status: 400, body: { ...userExists, description: 'The user already exists (username: test123).' } });
  });
});

describe('a weak password', () => {
  it('is refused with all the rules and how it kept them', async () => {
    const { status, body } = await signUp(app, { password: 'lower-case' });
    expect(status).toBe(400);
    expect(body).toEqual({
      name: 'PasswordStrengthError',
      message: 'Password is too weak',
      code: 'invalid_password',
      description: {
        rules: [
          { message: 'At least %d characters in length', format: [8], code: 'lengthAtLeast', verified: true },
          {
            message: 'Contain at least %d of the following %d types of characters:',
            code: 'containsAtLeast',
            format: [3, 4],
            items: [
              { message: 'lower case letters (a-z)', code: 'lowerCase', verified: true },
              { message: 'upper case letters (A-Z)', code: 'upperCase', verified: false },
              { message: 'numbers (i.e. 0-9)', code: 'numbers', verified: false },
              { message: 'special characters (e.g. !@#$%^&*)', code: 'specialCharacters', verified: true },
            ],
            verified: false,
          },
        ],
        verified: false,
      },
      policy:
        '* At least 8 characters in length\n* Contain at least 3 of the following 4 types of characters:\n * lower case letters (a-z)\n * upper case letters (A-Z)\n * numbers (i.e. 0-9)\n * special characters (e.g. !@#$%^&*)',
      statusCode: 400,
    });
  });

  it('is measured by the policy of the connection', async () => {
    await app.setConnectionOptions({ passwordPolicy: 'none' });
    expect((await signUp(app, { password: 'x' })).status).toBe(200);
    await app.setConnectionOptions({ passwordPolicy: 'excellent' });
    expect((await signUp(app, { password: 'aaaB1234567' })).status).toBe(400);
    await app.setConnectionOptions({ passwordPolicy: 'good' });
  });
});

const refusal = (code: string) => ({ name: 'BadRequestError', code, description: expect.any(String), statusCode: 400 });

describe('a sign-up that cannot be', () => {
  it.each([
    ['no e-mail', { email: undefined }, "Payload validation error: 'Missing required property: email'."],
    ['a malformed e-mail', { email: 'nobody' }, "Payload validation error: 'Object didn't pass validation for format email' on property email."],
    ['no password', { password: undefined }, "Payload validation error: 'Missing required property: password'."],
    ['no connection', { connection: undefined }, "Payload validation error: 'Missing required property: connection'."],
    ['a password that is no text', { password: { $ne: '' } }, "Payload validation error: 'Expected type string but found type object' on property password."],
    ['a malformed phone number', { phone_number: '0123' }, "Payload validation error: 'String does not match pattern: ^\\+[0-9]{1,15}$' on property phone_number."],
    ['metadata that is no text', { user_metadata: { age: 7 } }, "Payload validation error: 'Expected type string but found type integer' on property user_metadata.age."],
    ['too many metadata', { user_metadata: Object.fromEntries(Array.from({ length: 11 }, (_, i) => [`k${i}`, 'v'])) }, "Payload validation error: 'Too many properties, maximum 10' on property user_metadata."],
    ['metadata that is too long', { user_metadata: { a: 'x'.repeat(501) } }, "Payload validation error: 'String is too long (501 chars), maximum 500' on property user_metadata.a."],
    ['a picture that is no address', { picture: 'javascript:alert(1)' }, "Payload validation error: 'Object didn't pass validation for format url' on property picture."],
  ])('for %s gets 400 and the reason', async (_, fields, description) => {
    const { status, body } = await signUp(app, fields);
    expect({ status, body }).toEqual({ status: 400, body: { ...refusal('invalid_body'), description } });
  });

  it('because of the client, the connection or closed doors gets 400', async () => {
    expect(await signUp(app, { client_id: 'nobody' })).toMatchObject({ status: 400, body: refusal('invalid_client') });
    expect(await signUp(app, { connection: 'nowhere' })).toMatchObject({ status: 400, body: refusal('invalid_connection') });
    await app.setConnectionOptions({ disable_signup: true });
    const closed = await signUp(app);
    await app.setConnectionOptions({});
    expect({ status: closed.status, body: closed.body }).toEqual({ status: 400, body: { error: 'public signup is disabled' } });
  });

  it('never repeats the password', async () => {
    for (const fields of [{ email: 'x' }, { email: 'taken@example.com' }, { password: `${PASSWORD}\0` }]) {
      const { body } = await signUp(app, fields);
      expect(JSON.stringify(body)).not.toContain(PASSWORD);
    }
    expect(app.logText()).not.toContain(PASSWORD);
  });
});
