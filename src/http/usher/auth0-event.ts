import type { OutsideEvent } from '../../registration/outside.ts';
import type { UserCreated } from './schema.ts';

/** Makes the `event` of post-user-registration (contract §1.3) of Auth0's `user.created`, as far as it tells. */
export function eventOfUserCreated({ a0tenant, data: { object: user, context = {} } }: UserCreated): OutsideEvent {
  const [{ connection, provider }] = user.identities as [UserCreated['data']['object']['identities'][number]];
  const { request } = context;
  return {
    // Without a context nobody tells the connection's id.
    connection: context.connection ?? { id: connection, name: connection, strategy: provider },
    user,
    ...(request === undefined ? {} : { request: requestOf(request) }),
    ...(a0tenant === undefined ? {} : { tenant: { id: a0tenant } }),
  };
}

function requestOf({ geo = {}, hostname, ip, method, user_agent }: NonNullable<NonNullable<UserCreated['data']['context']>['request']>): Record<string, unknown> {
  const facts = {
    geoip: present({
      cityName: geo.city_name,
      continentCode: geo.continent_code,
      countryCode: geo.country_code,
      countryName: geo.country_name,
      latitude: geo.latitude,
      longitude: geo.longitude,
      subdivisionCode: geo.subdivision_code,
      subdivisionName: geo.subdivision_name,
      timeZone: geo.time_zone,
    }),
    hostname,
    ip,
    method,
    user_agent,
  };
  return present(facts);
}

function present(facts: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined));
}
