import type { Queryable } from './database.ts';

/** Reads a fact of the installation; undefined when it was never written. */
export async function readSetting(queryable: Queryable, name: string): Promise<string | undefined> {
  const row = await queryable.selectFrom('setting').select('value').where('name', '=', name).executeTakeFirst();
  return row?.value;
}

/** Writes a fact of the installation over the one before. */
export async function writeSetting(queryable: Queryable, name: string, value: string): Promise<void> {
  await queryable.insertInto('setting')
    .values({ name, value })
    .onConflict((conflict) => conflict.column('name').doUpdateSet({ value }))
    .execute();
}
