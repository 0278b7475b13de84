import type { OutsideEvent } from '../../src/registration/outside.ts';

/** A registration at another identity provider. */
export function outsideEvent(user: Record<string, unknown> = {}): OutsideEvent {
  return {
    connection: { id: 'con_elsewhere0001', name: 'google-oauth2', strategy: 'google-oauth2' },
    user: { user_id: 'google-oauth2|1029384756', email: 'ann@example.com', email_verified: true, ...user },
    request: { ip: '203.0.113.7', hostname: 'tenant.example.com', user_agent: 'curl/8', geoip: { countryCode: 'NZ' } },
    tenant: { id: 'tenant' },
  };
}
