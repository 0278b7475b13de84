import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

it('the log of an error has no row that PostgreSQL repeats in it, and no secret', () => {
  const logger = fileURLToPath(new URL('../src/logger.ts', import.meta.url));
  const program = `
    import { createLogger } from ${JSON.stringify(logger)};
    const err = Object.assign(new Error('duplicate key'), { code: '23505', detail: 'Key (email)=(a@example.com) already exists.' });
    createLogger({ level: 'info', role: 'test' }).error({ err, client: { client_secret: 'hush' } }, 'failed');`;
  const line = execFileSync('sh', ['-c', '"$0" --input-type=module -e "$1" 2>&1', process.execPath, program], { encoding: 'utf8' });
  expect(JSON.parse(line)).toMatchObject({ msg: 'failed', err: { message: 'duplicate key', code: '23505' } });
  expect(line).not.toMatch(/example\.com|hush/);
});
