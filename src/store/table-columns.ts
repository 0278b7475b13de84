import { sql } from 'kysely';
import type { Database, Queryable } from './database.ts';

/**
 * The tables that the store really has, each with the names of its columns in their order. On PostgreSQL: those of the
 * schema in which Usher makes its tables, not of others that share the database.
 */
export async function tableColumns({ dialect }: Database, queryable: Queryable): Promise<Map<string, string[]>> {
  const tables = await queryable.introspection.getTables();
  const schema = dialect === 'sqlite' ? undefined : await currentSchema(queryable);
  const ours = tables.filter((table) => !table.isView && table.schema === schema);
  return new Map(ours.map((table) => [table.name, table.columns.map((column) => column.name)]));
}

async function currentSchema(queryable: Queryable): Promise<string | undefined> {
  const { rows: [row] } = await sql<{ name: string }>`select current_schema() as name`.execute(queryable);
  return row?.name;
}
