import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { workflowIdOf } from '../../workflows/messages.ts';
import { createHarness } from '../workflows/harness.ts';
import { SCENARIOS } from './scenarios.ts';

/** Records the histories that are missing for this version; one that is there is never written again. */
const { version } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string };

for (const [name, run] of Object.entries(SCENARIOS)) {
  const file = new URL(`histories/${version}-${name}.json`, import.meta.url);
  if (existsSync(file)) continue;
  const harness = await createHarness();
  try {
    const id = await run(harness);
    const history = await harness.env.client.workflow.getHandle(workflowIdOf(id)).fetchHistory();
    await writeFile(file, `${historyToJSON(history)}\n`, { flag: 'wx' });
    process.stdout.write(`recorded ${version}-${name}\n`);
  } finally {
    await harness.close();
  }
}
