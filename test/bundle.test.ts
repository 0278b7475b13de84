import { bundleWorkflowCode, DefaultLogger, type LogEntry } from '@temporalio/worker';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, test } from 'vitest';

let code: string;
const said: LogEntry[] = [];

beforeAll(async () => {
  // Without `ignoreModules`: needing it would mean that something other than deterministic code was imported.
  ({ code } = await bundleWorkflowCode({
    workflowsPath: fileURLToPath(new URL('../workflows/index.ts', import.meta.url)),
    logger: new DefaultLogger('WARN', (entry) => said.push(entry)),
  }));
});

/** The sources that were put into the bundle, from its source map, from the root on. */
function sources(): string[] {
  const [, map] = /sourceMappingURL=data:application\/json;[^,]*base64,(\S+)/.exec(code)!;
  return (JSON.parse(Buffer.from(map!, 'base64').toString()) as { sources: string[] }).sources;
}

test('the workflow compiles without a warning', () => {
  expect(said).toEqual([]);
  expect(code).toContain('userRegistration');
});

test('the compiled workflow holds our workflows and nothing else of ours', () => {
  const ours = sources().filter((source) => !source.includes('node_modules') && source.endsWith('.ts'));
  expect(ours.some((source) => source.endsWith('workflows/user-registration.ts'))).toBe(true);
  expect(ours.filter((source) => !/(^|\/)workflows\/[\w-]+\.ts$/.test(source))).toEqual([]);
});

test('the compiled workflow holds no package but the SDK, and no module of Node', () => {
  const packages = sources().map((source) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(source)?.[1]).filter((name) => name !== undefined);
  // What the SDK lets in of Node (`assert`, `url`, `util`) would show as `@temporalio/worker`; anything else does not compile.
  expect(new Set(packages)).toEqual(new Set(['@temporalio/common', '@temporalio/workflow', 'nexus-rpc', 'long', 'ms']));
});
