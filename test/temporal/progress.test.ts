import { EventEmitter, once } from 'node:events';
import { expect, test } from 'vitest';
import { withProgress } from '../../src/progress.ts';

/** Collects what is written and lets a test wait for it. */
function recorder(isTTY: boolean) {
  const written: string[] = [];
  const writes = new EventEmitter();
  const output = {
    isTTY,
    write(text: string) {
      written.push(text);
      writes.emit('write');
    },
  };
  const until = async (count: number): Promise<void> => {
    while (written.length < count) await once(writes, 'write');
  };
  return { written, output, until };
}

test('a log file gets whole lines that say what, how long it usually takes and how long so far', async () => {
  const { written, output, until } = recorder(false);
  const result = await withProgress({ what: 'Building', usually: '3 min', output, lineEveryMs: 5 }, async (detail) => {
    detail('7 packages compiled');
    await until(3);
    return 'built';
  });
  expect(result).toBe('built');
  expect(written[0]).toBe('Building (usually 3 min) ...\n');
  expect(written[1]).toBe('Building: 0 s so far, usually 3 min; 7 packages compiled\n');
  expect(written.at(-1)).toBe('Building: done in 0 s\n');
  expect(written.join('')).not.toContain('\r');
});

test('a terminal gets one line that is rewritten until the work has ended', async () => {
  const { written, output, until } = recorder(true);
  await withProgress({ what: 'Building', usually: '3 min', output }, () => until(2));
  expect(written.join('').split('\n')).toHaveLength(2);
  expect(written[1]).toMatch(/^\r\S*Building: 1 s so far, usually 3 min$/);
});

test('work that fails says so with its time and hands its error on', async () => {
  const { written, output } = recorder(false);
  await expect(withProgress({ what: 'Building', usually: '3 min', output }, () => Promise.reject(new Error('no disk')))).rejects.toThrow('no disk');
  expect(written.at(-1)).toBe('Building: failed after 0 s\n');
});
