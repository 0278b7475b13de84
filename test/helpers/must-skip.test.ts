import { readFile } from 'node:fs/promises';
import { afterEach, expect, test, vi } from 'vitest';
import { mustSkip } from './must-skip.ts';

afterEach(() => void vi.unstubAllEnvs());

test('tests whose program is missing are skipped, and fail with the reason in CI', async () => {
  const warn = vi.spyOn(console, 'warn').mockReturnValue();
  vi.stubEnv('TEST_EVERYTHING', '');
  expect(mustSkip('the tests', null)).toBe(false);
  expect(mustSkip('the tests', 'a program is not on the PATH')).toBe(true);
  expect(warn).toHaveBeenCalledWith('the tests: skipped, because a program is not on the PATH');

  const ci = await readFile(new URL('../../.ci/run', import.meta.url), 'utf8');
  const [, name, value] = /^export (\w+)=(\w+)$/m.exec(ci)!;
  vi.stubEnv(name!, value);
  expect(mustSkip('the tests', null)).toBe(false);
  expect(() => mustSkip('the tests', 'a program is not on the PATH')).toThrow('the tests: cannot be run, because a program is not on the PATH');
});
