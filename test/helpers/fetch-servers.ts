import { devServerProgram } from './dev-server.ts';
import { testServerProgram } from './test-server.ts';

/** Fetches or builds Temporal's servers before the first test, which no test's time limit would allow for. */
export async function setup(): Promise<void> {
  await devServerProgram();
  await testServerProgram();
}
