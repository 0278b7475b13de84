import { z } from 'zod';
import type { Database } from '../../store/database.ts';
import { readTenantSettings, type TenantSettings, writeTenantSettings } from '../../store/tenant-settings.ts';
import { type Route, route } from '../endpoint.ts';
import { FIELDS_QUERY } from '../schema/common.ts';
import { selectFields } from '../select-fields.ts';

const PATH = '/api/v2/tenants/settings';

const FLAGS = z.strictObject({
  enable_public_signup_user_exists_error: z.boolean().optional().describe('false: a sign-up is not told that the user exists already.'),
});

const CHANGE = z.strictObject({ flags: FLAGS.optional(), friendly_name: z.string().max(255).nullish(), support_email: z.string().max(254).nullish() });

const SETTINGS = z
  .strictObject({ flags: FLAGS, friendly_name: z.string(), support_email: z.string() })
  .partial()
  .meta({ id: 'TenantSettings' });

/** The few settings of a tenant that are here. */
export function tenantsRoutes({ database }: { database: Database }): Route[] {
  return [
    route(
      {
        operationId: 'tenant_settings_route',
        method: 'get',
        path: PATH,
        summary: 'Get the settings of the tenant',
        tag: 'tenants',
        scopes: ['read:tenant_settings'],
        query: z.strictObject(FIELDS_QUERY),
        returns: SETTINGS,
      },
      async ({ query }) => selectFields(settingsAnswer(await readTenantSettings(database.db)), query.fields, query.include_fields),
    ),
    route(
      {
        operationId: 'patch_settings',
        method: 'patch',
        path: PATH,
        summary: 'Change the settings of the tenant',
        tag: 'tenants',
        scopes: ['update:tenant_settings'],
        body: CHANGE,
        returns: SETTINGS,
      },
      async ({ body: { flags, friendly_name: friendlyName, support_email: supportEmail } }) => {
        const tellsUserExists = flags?.enable_public_signup_user_exists_error;
        const change = {
          ...(tellsUserExists === undefined ? {} : { tellsUserExists }),
          ...(friendlyName === undefined ? {} : { friendlyName }),
          ...(supportEmail === undefined ? {} : { supportEmail }),
        };
        return settingsAnswer(await database.transaction((tx) => writeTenantSettings(tx, change)));
      },
    ),
  ];
}

function settingsAnswer({ tellsUserExists, friendlyName, supportEmail }: TenantSettings): z.input<typeof SETTINGS> {
  return {
    flags: { enable_public_signup_user_exists_error: tellsUserExists },
    ...(friendlyName === null ? {} : { friendly_name: friendlyName }),
    ...(supportEmail === null ? {} : { support_email: supportEmail }),
  };
}
