import type { Queryable } from './database.ts';
import { readSetting, writeSetting } from './settings.ts';

/** The settings of Auth0's tenant that are here. */
export interface TenantSettings {
  /** Whether a sign-up is told that the user exists already (true, as on Auth0), or only that it failed. */
  tellsUserExists: boolean;
  friendlyName: string | null;
  supportEmail: string | null;
}

const SETTING = 'tenant_settings';

const DEFAULTS: TenantSettings = { tellsUserExists: true, friendlyName: null, supportEmail: null };

/** Reads the settings; Auth0's defaults where nothing was ever set. */
export async function readTenantSettings(queryable: Queryable): Promise<TenantSettings> {
  const kept = await readSetting(queryable, SETTING);
  return kept === undefined ? DEFAULTS : { ...DEFAULTS, ...(JSON.parse(kept) as Partial<TenantSettings>) };
}

/** Changes the settings that are given; in a transaction. @returns all of them. */
export async function writeTenantSettings(tx: Queryable, change: Partial<TenantSettings>): Promise<TenantSettings> {
  const settings = { ...(await readTenantSettings(tx)), ...change };
  await writeSetting(tx, SETTING, JSON.stringify(settings));
  return settings;
}
