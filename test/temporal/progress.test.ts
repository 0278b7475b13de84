import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { withProgress } from '../../src/progress.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] }));
afterEach(() => void vi.useRealTimers());

/** Collects what is written. */
function recorder(isTTY: boolean) {
  const written: string[] = [];
  return { written, output: { isTTY, write: (text: string) => written.push(text) } };
}

test('a log file gets whole lines that say what, how long it usually takes and how long so far', async () => {
  const { written, output } = recorder(false);
  const result = await withProgress({ what: 'Building', usually: '3 min', output, lineEveryMs: 5_000 }, async (detail) => {
    detail('7 packages compiled');
    await vi.advanceTimersByTimeAsync(10_000);
    return 'built';
  });
  expect(result).toBe('built');
  expect(written).toEqual([
    'Building (usually 3 min) ...\n',
    'Building: 5 s so far, usually 3 min; 7 packages compiled\n',
    'Building: 10 s so far, usually 3 min; 7 packages compiled\n',
    'Building: done in 10 s\n',
  ]);
});

test('a terminal gets one line that is rewritten until the work has ended', async () => {
  const { written, output } = recorder(true);
  await withProgress({ what: 'Building', usually: '3 min', output }, () => vi.advanceTimersByTimeAsync(1_000));
  expect(written.join('').split('\n')).toHaveLength(2);
  expect(written[1]).toMatch(/^\r\S*Building: 1 s so far, usually 3 min$/);
});

test('work that fails says so with its time and hands its error on', async () => {
  const { written, output } = recorder(false);
  await expect(withProgress({ what: 'Building', usually: '3 min', output }, () => Promise.reject(new Error('no disk')))).rejects.toThrow('no disk');
  expect(written.at(-1)).toBe('Building: failed after 0 s\n');
});
