import { readdir, readFile, writeFile } from 'node:fs/promises';
import { stripTypeScriptTypes } from 'node:module';
import { join } from 'node:path';

/**
 * Program: writes `runner/*.ts` without their types, as `.mjs`, into the folder that is its argument. In a process of
 * its own, because Node warns of the function being experimental and only a flag of the process silences that.
 */
const source = new URL('runner/', import.meta.url).pathname;
const target = process.argv[2] ?? '';
for (const name of await readdir(source)) {
  const code = stripTypeScriptTypes(await readFile(join(source, name), 'utf8'));
  await writeFile(join(target, name.replace(/\.ts$/, '.mjs')), code.replaceAll(/(from '\.\/[a-z-]+)\.ts'/g, "$1.mjs'"), { mode: 0o644 });
}
