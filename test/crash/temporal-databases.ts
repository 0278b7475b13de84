import { DATABASES } from '../../examples/cluster/temporal-config.ts';
import { query } from './query.ts';

const NAMES = Object.values(DATABASES);

/** Copies Temporal's databases as they are now. Its services may run: they are cut off from them for a moment. */
export async function copyTemporalDatabases(adminUrl: string): Promise<void> {
  for (const name of NAMES) {
    await query(adminUrl, `alter database ${name} allow_connections false`);
    await query(adminUrl, `select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = '${name}'`);
    await query(adminUrl, `create database ${copyOf(name)} template ${name}`);
    await query(adminUrl, `alter database ${name} allow_connections true`);
  }
}

/** Puts the copy in the place of Temporal's databases, whose services are off. */
export async function putCopyBack(adminUrl: string): Promise<void> {
  await dropTemporalDatabases(adminUrl);
  for (const name of NAMES) await query(adminUrl, `alter database ${copyOf(name)} rename to ${name}`);
}

/** Of a Temporal whose services are off. */
export async function dropTemporalDatabases(adminUrl: string): Promise<void> {
  for (const name of NAMES) await query(adminUrl, `drop database ${name} with (force)`);
}

function copyOf(name: string): string {
  return `${name}_before`;
}
