import { TestWorkflowEnvironment } from '@temporalio/testing';
import { access, chmod, constants, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { withProgress } from '../../src/progress.ts';
import { runToEnd } from '../../src/temporal/fetch-child.ts';
import { downloadWithSdk, SDK_VERSION } from '../../src/temporal/sdk-download.ts';
import { testCacheDir } from './dev-server.ts';

const MAVEN_VERSION = '1.38.0';
/** The SDK gives a server 5 s to start, which is little for a JVM on a busy machine. */
const STARTS = 12;

/**
 * Starts a time-skipping test server of the caller's own; `teardown()` ends it. It is sound for one workflow at a time,
 * and its clock stands still while a client awaits an update.
 */
export async function createTimeSkipping(): Promise<TestWorkflowEnvironment> {
  const executable = { type: 'existing-path', path: await testServerProgram() } as const;
  for (let start = 1; ; start++) {
    try {
      return await TestWorkflowEnvironment.createTimeSkipping({ server: { executable } });
    } catch (error) {
      if (start === STARTS) throw error;
    }
  }
}

/**
 * The test server's program: `TEMPORAL_TEST_SERVER`, what was fetched before, the SDK's download, or Maven's artifact
 * with a script around it, in this order.
 *
 * @throws when nothing works, with all that was tried.
 */
export async function testServerProgram(): Promise<string> {
  const configured = process.env['TEMPORAL_TEST_SERVER'];
  if (configured) return configured;
  const downloaded = join(testCacheDir(), `temporal-test-server-sdk-${SDK_VERSION}`, 'temporal-test-server');
  const fromMaven = join(testCacheDir(), `temporal-test-server-${MAVEN_VERSION}`, 'temporal-test-server');
  for (const program of [downloaded, fromMaven]) {
    if (await access(program, constants.X_OK).then(() => true, () => false)) return program;
  }

  const tried: string[] = [];
  for (const [program, what, usually, fetch] of [
    [downloaded, "Downloading Temporal's test server", 'under a minute', download],
    [fromMaven, "Fetching Temporal's test server with Maven", '10 s', fetchWithMaven],
  ] as const) {
    try {
      await withProgress({ what, usually, output: process.stderr }, () => makeFolder(dirname(program), fetch));
      return program;
    } catch (error) {
      tried.push(`${what}: ${(error as Error).message}`);
    }
  }
  throw new Error(`No time-skipping test server. Tried:\n${tried.join('\n')}\nInstall Maven and Java 17, or set TEMPORAL_TEST_SERVER to its path.`);
}

/** Fills a folder whole or not at all; when another process was first, its folder stays. */
async function makeFolder(folder: string, fill: (folder: string) => Promise<void>): Promise<void> {
  await mkdir(dirname(folder), { recursive: true });
  const work = await mkdtemp(join(dirname(folder), '.making-'));
  try {
    await fill(work);
    await rename(work, folder);
  } catch (error) {
    if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function download(folder: string): Promise<void> {
  await rename(await downloadWithSdk('time-skipping', folder, { env: process.env }), join(folder, 'temporal-test-server'));
}

async function fetchWithMaven(folder: string): Promise<void> {
  await writeFile(
    join(folder, 'pom.xml'),
    `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>usher</groupId><artifactId>test-server</artifactId><version>1</version><dependencies><dependency>
<groupId>io.temporal</groupId><artifactId>temporal-test-server</artifactId><version>${MAVEN_VERSION}</version>
</dependency></dependencies></project>\n`,
  );
  await runToEnd({
    // Maven tells its errors on standard output.
    command: 'sh',
    args: ['-c', 'exec mvn -B -q dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=lib 1>&2'],
    env: process.env,
    cwd: folder,
  });
  const script = join(folder, 'temporal-test-server');
  await writeFile(
    script,
    `#!/bin/sh
exec java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto -cp "$(dirname "$0")/lib/*" io.temporal.testserver.TestServer "$@"
`,
  );
  await chmod(script, 0o755);
}
