import { cp, mkdtemp, readFile, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SOURCE = fileURLToPath(new URL('../..', import.meta.url));
const MIGRATION = `import type { Kysely } from 'kysely';

export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('registration').addColumn('of_the_next_version', 'text').execute();
}
`;

/**
 * Makes this Usher's next version, as our rules let one be: it adds to the tables, and changes what the workflow does
 * behind a patch.
 *
 * @returns its folder, which the caller removes.
 */
export async function makeNextVersion(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'usher-next-'));
  for (const name of ['src', 'workflows', 'activities', 'package.json']) await cp(join(SOURCE, name), join(folder, name), { recursive: true });
  await symlink(join(SOURCE, 'node_modules'), join(folder, 'node_modules'));
  await writeFile(join(folder, 'src/store/migrations/9000-next.ts'), MIGRATION);
  await change(join(folder, 'src/store/migrate.ts'), "import * as initial from './migrations/0001-initial.ts';", (line) => `${line}\nimport * as next from './migrations/9000-next.ts';`);
  await change(join(folder, 'src/store/migrate.ts'), "['0001-initial', initial],", (line) => `${line}\n  ['9000-next', next],`);
  // One more look at the ledger before it closes.
  await change(join(folder, 'workflows/user-registration.ts'), 'const close = await ledger.closeRegistration({ registrationId });', (line) =>
    `if (patched('of-the-next-version')) await ledger.loadOpenSteps({ registrationId });\n    ${line}`);
  return folder;
}

async function change(file: string, line: string, by: (line: string) => string): Promise<void> {
  const text = await readFile(file, 'utf8');
  if (text.split(line).length !== 2) throw new Error(`${file} does not have this line once: ${line}`);
  await writeFile(file, text.replace(line, by));
}
