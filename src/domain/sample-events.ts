import type { TriggerId } from './triggers.ts';

/** What stands in a sample in the place of what is the tenant's own. */
export interface SampleOptions {
  /** Name of the tenant. @default 'usher' */
  tenant?: string;
  /** When the user of the sample was created. */
  now: Date;
}

/**
 * The event that an Action is tried out with when nobody gives another one. It is new with each call.
 *
 * Of post-user-registration it is Auth0's own sample (contract §1.3), without `secrets`, which are added for each run.
 * For pre-user-registration Auth0's types name the differences (contract §2): `client`, `request.body`, and a user who
 * has no id yet.
 */
export function sampleEvent(triggerId: TriggerId, { tenant = 'usher', now }: SampleOptions): Record<string, unknown> {
  return triggerId === 'post-user-registration' ? postUserRegistration(tenant, now.toISOString()) : preUserRegistration(tenant);
}

function postUserRegistration(tenant: string, date: string): Record<string, unknown> {
  return {
    ...common(tenant),
    request: request(tenant),
    user: {
      ...PROFILE,
      tenant,
      phoneNumber: PROFILE.phone_number,
      user_id: 'auth0|5f7c8ec7c33c6c004bbafe82',
      created_at: date,
      updated_at: date,
      last_password_reset: date,
      email_verified: true,
      phone_verified: true,
      app_metadata: {},
      user_metadata: {},
    },
  };
}

function preUserRegistration(tenant: string): Record<string, unknown> {
  return {
    ...common(tenant),
    client: { client_id: 'AbCdEfGhIjKlMnOpQrStUvWxYz012345', name: 'My App', metadata: {} },
    request: { ...request(tenant), body: {} },
    user: { ...PROFILE, app_metadata: {}, user_metadata: {} },
  };
}

const PROFILE = {
  username: 'j+smith',
  email: 'j+smith@example.com',
  name: 'John Smith',
  given_name: 'John',
  family_name: 'Smith',
  nickname: 'j+smith',
  phone_number: '123-123-1234',
  picture: 'http://www.gravatar.com/avatar/?d=identicon',
};

function request(tenant: string): Record<string, unknown> {
  return {
    hostname: `${tenant}.example.com`,
    ip: '13.33.86.47',
    language: 'en',
    method: 'POST',
    user_agent: 'curl/7.64.1',
    geoip: {
      cityName: 'Bellevue',
      continentCode: 'NA',
      countryCode: 'US',
      countryCode3: 'USA',
      countryName: 'United States of America',
      latitude: 47.61793,
      longitude: -122.19584,
      subdivisionCode: 'WA',
      subdivisionName: 'Washington',
      timeZone: 'America/Los_Angeles',
    },
  };
}

function common(tenant: string): Record<string, unknown> {
  return {
    configuration: {},
    connection: { id: 'con_fpe5kj482KO1eOzQ', name: 'Username-Password-Authentication', strategy: 'auth0', metadata: {} },
    custom_domain: { domain: 'login.example.com', domain_metadata: { environment: 'production', region: 'us-west-2' } },
    security_context: { ja3: 'c13a3e168d43e62e0ad96fae6347e2e4', ja4: 't13d1516h2_8daaf6152771_02713d6af862' },
    tenant: { id: tenant },
    transaction: {
      acr_values: [],
      correlation_id: '1234567890',
      id: '',
      locale: '',
      login_hint: 'test@test.com',
      prompt: ['none'],
      protocol: 'oauth2-refresh-token',
      redirect_uri: 'http://someuri.com',
      requested_scopes: [],
      response_mode: 'form_post',
      response_type: ['id_token'],
      state: 'AABBccddEEFFGGTTasrs',
      ui_locales: [],
    },
  };
}
