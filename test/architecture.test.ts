import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { expect, test } from 'vitest';

const ROOT = new URL('..', import.meta.url).pathname;

interface Import {
  file: string;
  /** A file of ours from the root on, a package, or a Node module. */
  target: string;
  isType: boolean;
}

/**
 * Who may import what: prefixes of paths, packages, and `node:`. `types` is allowed as `import type` on top. A folder's
 * own files are always allowed, except from `src/` itself. What is not here may import everything.
 */
const RULES: { from: string; imports: string[]; types: string[] }[] = [
  // Bundled into Temporal's sandbox: deterministic code only.
  { from: 'workflows/', imports: ['@temporalio/workflow'], types: ['src/domain/'] },
  { from: 'src/domain/', imports: [], types: [] },
  {
    from: 'activities/',
    imports: ['node:', '@temporalio/activity', '@temporalio/common', 'src/domain/', 'src/store/', 'src/registration/event.ts'],
    types: ['workflows/messages.ts', 'src/logger.ts', 'src/sandbox/', 'src/builds/', 'src/observe/'],
  },
  // The only files that a sandbox process can read, and they are read without types.
  { from: 'src/sandbox/runner/', imports: ['node:'], types: ['src/domain/'] },
  { from: 'src/sandbox/', imports: ['node:', 'src/domain/', 'src/give-way.ts', 'ipaddr.js', 'p-limit', 'zod'], types: ['src/logger.ts'] },
  {
    from: 'src/store/',
    imports: ['node:', 'src/domain/', 'kysely', 'pg', 'jose'],
    types: ['src/passwords.ts', 'workflows/messages.ts'],
  },
  { from: 'src/search/', imports: ['src/domain/', 'kysely'], types: ['src/store/'] },
  { from: 'src/messages/', imports: ['node:', 'src/domain/', 'src/store/', 'nodemailer'], types: ['src/logger.ts'] },
  {
    from: 'src/registration/',
    imports: ['node:', 'src/domain/', 'src/store/', 'src/messages/templates.ts', 'src/passwords.ts', 'src/repeat.ts', 'ipaddr.js', 'p-limit'],
    types: ['src/logger.ts', 'src/sandbox/', 'src/builds/', 'src/temporal/'],
  },
  { from: 'src/jobs/', imports: ['node:', 'src/domain/', 'src/store/', 'src/registration/'], types: ['src/logger.ts'] },
  { from: 'src/backup/', imports: ['node:', 'src/domain/', 'src/store/', 'kysely', 'zod'], types: [] },
  { from: 'src/builds/', imports: ['node:', 'src/domain/', 'src/store/', 'src/sandbox/test-run.ts', 'src/tls/trust.ts', 'kysely', 'tar', '@npmcli/arborist'], types: ['src/logger.ts', 'src/sandbox/'] },
  {
    from: 'src/http/',
    imports: ['node:', 'src/domain/', 'src/store/', 'src/search/', 'src/observe/', 'src/passwords.ts', 'src/registration/password-rules.ts', 'src/registration/username-rules.ts', 'workflows/messages.ts', 'cors', 'express', 'express-rate-limit', 'helmet', 'jose', 'multer', 'zod', 'zod-openapi'],
    types: ['src/logger.ts', 'src/registration/', 'src/jobs/', 'src/builds/', 'src/sandbox/test-run.ts'],
  },
  // What wraps the parts to count and trace them knows their shapes; of what runs it knows next to nothing.
  {
    from: 'src/observe/',
    imports: ['node:', 'src/domain/', 'src/store/database.ts', 'src/registration/register.ts', 'src/sandbox/runner/trace-parent.ts', '@opentelemetry/', 'kysely', 'prom-client'],
    types: ['src/logger.ts', 'src/registration/', 'src/sandbox/', 'src/store/', 'src/temporal/', 'workflows/messages.ts'],
  },
  { from: 'src/tls/', imports: ['node:', 'src/data-dir.ts', 'src/start-error.ts', '@peculiar/'], types: ['src/logger.ts'] },
  {
    from: 'src/cli/',
    imports: ['node:', 'src/domain/', 'src/sandbox/', 'src/builds/', 'src/tls/', 'src/backup/', 'src/store/', 'src/config.ts', 'src/data-dir.ts', 'src/installation.ts', 'src/logger.ts', 'src/start-error.ts', 'commander', 'acorn', 'acorn-walk', 'kysely', 'zod'],
    types: [],
  },
  { from: 'src/temporal/', imports: ['node:', '@temporalio/', 'src/progress.ts', 'src/give-way.ts', 'src/store/sealing.ts', 'workflows/messages.ts'], types: ['src/logger.ts', 'workflows/'] },
];

/** Run by themselves: a child that ends with its parent, and what runs in the sandbox. */
const PROGRAMS = ['src/main.ts', 'src/cli/usher.ts', 'src/builds/install-child.ts', 'src/temporal/sdk-download-child.ts', 'src/sandbox/strip-runner.ts', 'src/sandbox/runner/'];

const files = ['src', 'workflows', 'activities'].flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name)),
);
const imports = files.flatMap(importsOf);

function codeOf(file: string): string {
  return readFileSync(join(ROOT, file), 'utf8');
}

/** Without comments; a `//` in a string ends the line too, which does not matter for what is looked for. */
function withoutComments(code: string): string {
  return code.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/\/\/.*$/gm, '');
}

function importsOf(file: string): Import[] {
  const statement = /^(?:import|export)\s+(type\s+)?([^'";]*?)\s*from\s*'([^']+)'|^import\s+'([^']+)'|\bimport\(\s*'([^']+)'|\brequire\(\s*'([^']+)'/gm;
  return [...codeOf(file).matchAll(statement)].map((match) => {
    const specifier = match.slice(3).find((each) => each !== undefined)!;
    const names = /^\{(.*)\}$/s.exec(match[2] ?? '')?.[1]?.split(',').map((name) => name.trim()).filter((name) => name !== '');
    return {
      file,
      target: specifier.startsWith('.') ? normalize(join(dirname(file), specifier)) : specifier,
      isType: match[1] !== undefined || (names?.every((name) => name.startsWith('type ')) ?? false),
    };
  });
}

function isIn(path: string, places: string[]): boolean {
  return places.some((place) => path === place || ((place.endsWith('/') || place.endsWith(':')) && path.startsWith(place)));
}

test('the imports of every file are seen', () => {
  expect(files.length).toBeGreaterThan(100);
  for (const folder of RULES.map(({ from }) => from)) expect(files.some((file) => file.startsWith(folder)), folder).toBe(true);
  const targets = importsOf('src/main.ts').map(({ target }) => target);
  expect(targets).toEqual(expect.arrayContaining(['node:util', 'src/config.ts', 'src/roles/api.ts']));
  // Every one of our own is there: nothing was misread.
  for (const { file, target } of imports) {
    const isOurs = /^(src|workflows|activities)\//.test(target);
    if (isOurs) expect(files, `${file} imports ${target}`).toContain(target);
  }
});

test('each folder imports only what it may', () => {
  const wrong = imports.filter(({ file, target, isType }) => {
    const rule = RULES.find(({ from }) => file.startsWith(from));
    if (rule === undefined || target.startsWith(rule.from)) return false;
    return !isIn(target, isType ? [...rule.imports, ...rule.types] : rule.imports);
  });
  expect(wrong.map(({ file, target, isType }) => `${file} imports ${isType ? 'types of ' : ''}${target}`)).toEqual([]);
});

test('nothing imports the command lines, tests, examples or the bench', () => {
  const wrong = imports.filter(({ target }) => target === 'src/main.ts' || target === 'src/cli/usher.ts' || /^(\.\.\/)*(test|examples|bench)\//.test(target));
  expect(wrong).toEqual([]);
});

test('only the command lines read the environment', () => {
  expect(files.filter((file) => /\bprocess\s*(\.|\?\.)\s*env\b|\benv\s*\}\s*=\s*process\b|import\s*\{[^}]*\benv\b[^}]*\}\s*from\s*'node:process'/.test(withoutComments(codeOf(file))))).toEqual(['src/main.ts', 'src/cli/usher.ts']);
});

test('only programs end their process or listen to its signals', () => {
  const ends = /\bprocess\.(exit|abort|reallyExit)\(|\bprocess\.exitCode\b|\bprocess\.(on|once|addListener)\(|\bprocess\.kill\(\s*process\.pid/;
  const found = files.filter((file) => ends.test(withoutComments(codeOf(file))));
  expect(found.filter((file) => !isIn(file, PROGRAMS))).toEqual([]);
  expect(found).toContain('src/main.ts');
});

test('no source file is longer than 400 lines', () => {
  expect(files.filter((file) => codeOf(file).split('\n').length > 401)).toEqual([]);
});
