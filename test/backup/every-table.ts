import { sql } from 'kysely';
import type { Database } from '../../src/store/database.ts';

/** Rows of each table: more than one page of a backup. */
const ROWS = 130;
const TRICKY = ['', ' ', '\u2028\u2029\r\n', '"\\\'`', 'ä 漢字 👩‍👩‍👧 \u202e', 'null', '0', '{"a":[1]}', 'x'];

/** The column that refers to another table, by `table.column`. */
const REFERS: Record<string, string> = {
  'user_account.connection_id': 'connection',
  'binding.action_id': 'action',
  'step.registration_id': 'registration',
  'attempt.step_id': 'step',
  'user_role.user_id': 'user_account',
  'user_role.role_id': 'role',
  'role_permission.role_id': 'role',
  'ticket.user_id': 'user_account',
  'job_error.job_id': 'job',
  'handed_in.registration_id': 'registration',
  'bulk_item.operation_id': 'bulk_operation',
  'history_removal.erasure_id': 'erasure',
};

/** Fills every table that the store has with rows of all kinds of values. */
export async function fillEveryTable({ db }: Database, tables: readonly string[]): Promise<void> {
  const found = await db.introspection.getTables();
  for (const name of tables) {
    const table = found.find((each) => each.name === name)!;
    const columns = table.columns.map((column) => sql.ref(column.name));
    const rows = Array.from({ length: ROWS }, (_, row) =>
      sql`(${sql.join(table.columns.map((column, index) => sql.val(valueOf(name, { ...column, type: column.dataType.toLowerCase() }, row, index))))})`);
    await sql`insert into ${sql.table(name)} (${sql.join(columns)}) values ${sql.join(rows)}`.execute(db);
  }
}

function valueOf(table: string, { name, type, isNullable }: { name: string; type: string; isNullable: boolean }, row: number, index: number): unknown {
  const refers = REFERS[`${table}.${name}`];
  if (refers !== undefined) return `${refers} ${row}`;
  // Names of rows, so that what is unique stays so and others can refer to it.
  if (['id', 'key', 'name', 'name_key', 'identifier', 'token_hash', 'key_hash', 'email', 'username', 'phone_number', 'subject_id', 'recipient', 'audience', 'client_id', 'registration_id'].includes(name)) return `${table} ${row}`;
  if (isNullable && (row + index) % 3 === 0) return null;
  if (type === 'blob' || type === 'bytea') return Buffer.alloc(row === 0 ? 3_000_000 : row, Buffer.from([row, 0, 0xff, 0x0a, 0x80]));
  if (type === 'bigint' || type === 'int8') return row === 1 ? Number.MAX_SAFE_INTEGER : row * 1_000_003;
  if (type === 'integer' || type === 'int4') return row === 1 ? 2_147_483_647 : row;
  if (row === 2 && /_sealed$|^code$|^lockfile$/.test(name)) return 'x'.repeat(300_000);
  return `${TRICKY[(row + index) % TRICKY.length]}${row}`;
}

/** Everything that stands in these tables, as the store itself gives it; rows in no order of the store's. */
export async function contents({ db }: Database, tables: readonly string[]): Promise<Record<string, string[]>> {
  const found: Record<string, string[]> = {};
  for (const table of tables) {
    const { rows } = await sql<Record<string, unknown>>`select * from ${sql.table(table)}`.execute(db);
    found[table] = rows.map((row) => JSON.stringify(Object.entries(row).toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([name, value]) => [name, plain(value)]))).toSorted();
  }
  return found;
}

function plain(value: unknown): unknown {
  return value instanceof Uint8Array ? `bytes ${Buffer.from(value).toString('hex')}` : value;
}
