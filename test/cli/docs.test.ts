import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startRegistry, type TestRegistry } from '../builds/registry.ts';
import { makeDesk, startProgram, USHER } from './cli.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

let registry: TestRegistry;
let page: string;

beforeAll(async () => {
  registry = await startRegistry();
  await registry.publish('axios', '1.16.1');
  await registry.publish('@slack/webhook', '8.0.2');
  page = await readFile(`${ROOT}/docs/actions-on-your-laptop.md`, 'utf8');
});
afterAll(() => registry.close());

test('each command of the page about Actions on a laptop gives what the page shows', async () => {
  const { env } = await makeDesk(registry.url);
  const shown = [...page.matchAll(/```sh\nnpx usher (.+)\n```\n\n```text\n([\s\S]+?)\n```/g)];
  expect(shown.length).toBe(page.split('```sh').length - 1);
  for (const [, args, output] of shown) {
    const { out, err, code } = await startProgram('/bin/sh', ['-c', `exec '${process.execPath}' '${USHER}' ${args}`], { cwd: ROOT, env }).ended;
    expect(err).toBe('');
    expect(code).toBe(0);
    expect(comparable(out)).toBe(comparable(output!));
  }
});

test('the page names every option and every rule of a hint', async () => {
  const { usher } = await makeDesk();
  const help = (await usher('action', 'run', '--help')).out;
  const options = [...help.matchAll(/^ {2}(--\w+)/gm)].map(([, option]) => option!);
  expect(options).toContain('--event');
  for (const option of options) expect(page).toContain(`| \`${option}`);
  const [, rules] = /export type HintRule =([^;]+);/.exec(await readFile(`${ROOT}/src/cli/check/hint.ts`, 'utf8'))!;
  const names = [...rules!.matchAll(/'([\w-]+)'/g)].map(([, name]) => name!);
  const told = [...page.matchAll(/^\| `([a-z][a-z-]+)` \|/gm)].map(([, name]) => name!);
  expect(new Set(told)).toEqual(new Set(names));
});

/** Durations differ, and the walls of the machine. */
function comparable(output: string): string {
  return output.trim().replaceAll(/\d+ ms/g, 'n ms').replaceAll(/\n {2}walls: .*/g, '');
}
