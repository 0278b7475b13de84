import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mustSkip } from '../helpers/must-skip.ts';
import { bearer, startTestApp, type TestApp } from '../http/test-app.ts';

const run = promisify(execFile);

interface Report {
  failures: unknown[];
  errors: unknown[];
  stop_reason: string;
  test_cases: { generated: number };
}

const VERSION = '4.32.5';
/** What the issue asks for. */
const MIN_REQUESTS = 10_000;
const EXAMPLES_PER_OPERATION = 80;
/** `FUZZ_SEED` repeats a run; the default is the same each time, so that a failure is the change's, not the day's. */
const seed = process.env['FUZZ_SEED'] ?? '1';
const CHECKS = ['not_a_server_error', 'status_code_conformance', 'content_type_conformance', 'response_schema_conformance'];

/** Where its virtual environment outlives a clone. */
const home = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'usher', `schemathesis-${VERSION}`);

/** Makes the virtual environment once; a half-made one is never taken for a whole. */
async function install(): Promise<string> {
  if (!existsSync(home)) {
    const half = `${home}.half-${process.pid}`;
    await mkdir(join(home, '..'), { recursive: true });
    await run('python3', ['-m', 'venv', half]);
    await run(join(half, 'bin', 'python3'), ['-m', 'pip', 'install', '-q', `schemathesis==${VERSION}`]);
    await rename(half, home).catch(() => rm(half, { recursive: true, force: true }));
  }
  // Scripts in `bin` hold the folder's first name; the module does not.
  return join(home, 'bin', 'python3');
}

let missing: string | null = null;
try {
  await install();
} catch (error) {
  missing = `schemathesis ${VERSION} could not be installed: ${(error as Error).message.split('\n')[0]}`;
}

describe.skipIf(mustSkip('schemathesis', missing))('schemathesis, fuzzing the API by its own document', () => {
  let app: TestApp;
  let reports: string;

  beforeAll(async () => {
    app = await startTestApp();
    reports = await mkdtemp(join(tmpdir(), 'usher-fuzz-'));
  });
  afterAll(async () => {
    await app.close();
    await rm(reports, { recursive: true, force: true });
  });

  it(`finds in at least ${MIN_REQUESTS} requests no 5xx, and no answer that the document does not describe`, async () => {
    const { authorization } = await bearer(app);
    const report = join(reports, 'report.json');
    // One worker: CPython before 3.13 can fail in `ast.parse` on two threads at once ("AST constructor recursion depth
    // mismatch"), which schemathesis reports as an error of its run; and its threads share one interpreter lock anyway.
    const { stdout } = await run(
      await install(),
      [
        '-m', 'schemathesis.cli', 'run', `${app.url}/openapi.json`,
        '--header', `authorization: ${authorization}`,
        '--checks', CHECKS.join(','),
        '--max-examples', String(EXAMPLES_PER_OPERATION), '--phases', 'examples,coverage,fuzzing', '--continue-on-failure', '--seed', seed,
        '--workers', '1', '--request-timeout', '30', '--suppress-health-check', 'all', '--report', 'json', '--report-json-path', report,
      ],
      { cwd: reports, maxBuffer: 64 * 1024 * 1024 },
      // It ends with 1 when it has found something: the report says what.
    ).catch((error: { stdout: string }) => error);

    const { failures, errors, test_cases: cases, stop_reason: reason } = JSON.parse(await readFile(report, 'utf8')) as Report;
    expect({ failures, errors, reason }, stdout.slice(-20_000)).toEqual({ failures: [], errors: [], reason: 'completed' });
    expect(cases.generated).toBeGreaterThanOrEqual(MIN_REQUESTS);
    expect(app.logText()).not.toContain('"status":5');
  }, 900_000);
});
