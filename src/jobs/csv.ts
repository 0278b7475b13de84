import type { ExportField } from '../domain/job.ts';
import { valueAt } from './value-at.ts';

/** What a file in CSV has when nobody says it. */
export const DEFAULT_CSV_FIELDS: ExportField[] = [
  'user_id', 'email', 'email_verified', 'username', 'phone_number', 'phone_verified', 'name', 'given_name', 'family_name', 'nickname',
  'picture', 'blocked', 'logins_count', 'last_ip', 'last_login', 'created_at', 'updated_at',
].map((name) => ({ name }));

const DATE = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

/** The first line. */
export function csvTitles(fields: ExportField[]): string {
  return `${fields.map(({ name, export_as: title = name }) => quoted(title)).join(',')}\n`;
}

/**
 * A user's line. As at Auth0, a text stands behind an apostrophe, so that no table calculator takes it for a formula
 * (OWASP: CSV injection); dates do not.
 */
export function csvLine(fields: ExportField[], user: Record<string, unknown>): string {
  return `${fields.map(({ name }) => cell(valueAt(user, name))).join(',')}\n`;
}

function cell(value: unknown): string {
  if (value === undefined || value === null) return '';
  if (typeof value === 'string') return DATE.test(value) ? quoted(value) : quoted(`'${value}`);
  return typeof value === 'object' ? quoted(`'${JSON.stringify(value)}`) : JSON.stringify(value);
}

function quoted(text: string): string {
  return `"${text.replaceAll('"', '""')}"`;
}
