import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { VERSION } from '../../src/domain/version.ts';
import { workflowIdOf } from '../../workflows/messages.ts';
import { devServerProgram } from '../helpers/dev-server.ts';
import { createTimeSkipping } from '../helpers/test-server.ts';
import { createHarness } from '../workflows/harness.ts';
import { CONTINUED, SCENARIOS } from './scenarios.ts';

/** Records the histories that are missing for this version; one that is there is never written again. */
for (const [scenarios, createEnv] of [[SCENARIOS, createTimeSkipping], [CONTINUED, createShortHistories]] as const) {
  for (const [name, run] of Object.entries(scenarios)) {
    const file = new URL(`histories/${VERSION}-${name}.json`, import.meta.url);
    if (existsSync(file)) continue;
    const harness = await createHarness({ createEnv });
    try {
      const workflowId = workflowIdOf(await run(harness));
      const { events } = await harness.env.client.workflow.getHandle(workflowId).fetchHistory();
      // Of several runs the first: how it begins anew is in its end.
      const firstRun = events?.[0]?.workflowExecutionStartedEventAttributes?.firstExecutionRunId;
      const history = await harness.env.client.workflow.getHandle(workflowId, firstRun ?? undefined).fetchHistory();
      await writeFile(file, `${historyToJSON(history)}\n`, { flag: 'wx' });
      process.stdout.write(`recorded ${VERSION}-${name}\n`);
    } finally {
      await harness.close();
    }
  }
}

/** A server that asks for a new run after a few events, as others do after thousands. Its clock does not skip. */
async function createShortHistories(): Promise<TestWorkflowEnvironment> {
  return await TestWorkflowEnvironment.createLocal({
    server: { executable: { type: 'existing-path', path: await devServerProgram() }, extraArgs: ['--dynamic-config-value', 'limit.historyCount.suggestContinueAsNew=20'] },
  });
}
