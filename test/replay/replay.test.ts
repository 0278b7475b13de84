import { DeterminismViolationError } from '@temporalio/workflow';
import { Worker } from '@temporalio/worker';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { workflowBundle } from '../workflows/harness.ts';
import { VERSION } from '../../src/domain/version.ts';
import { CONTINUED, SCENARIOS } from './scenarios.ts';

const FOLDER = new URL('histories/', import.meta.url);
const files = readdirSync(FOLDER).filter((name) => name.endsWith('.json'));

interface HistoryJson {
  events: { activityTaskScheduledEventAttributes?: { activityType: { name: string } }; workflowExecutionContinuedAsNewEventAttributes?: unknown }[];
}

function read(name: string): HistoryJson {
  return JSON.parse(readFileSync(new URL(name, FOLDER), 'utf8')) as HistoryJson;
}

/** What the replay of a history says: undefined when the workflow goes the same way. */
async function replay(history: HistoryJson): Promise<Error | undefined> {
  for await (const result of Worker.runReplayHistories({ workflowBundle: await workflowBundle() }, [{ workflowId: 'replayed', history }])) return result.error;
  throw new Error('nothing was replayed');
}

/** A red test here after a release means that running registrations would break: use `patched`. */
describe('saved histories', () => {
  it('are there for each scenario as this version runs it: node test/replay/record.ts records what is missing', () => {
    const names = Object.keys({ ...SCENARIOS, ...CONTINUED });
    expect(files.filter((file) => file.startsWith(`${VERSION}-`))).toEqual(names.map((name) => `${VERSION}-${name}.json`).toSorted());
    for (const file of files) expect(names).toContain(file.replace(/^\d+\.\d+\.\d+-(.+)\.json$/, '$1'));
  });

  it.each(Object.keys(CONTINUED))('%s: its run ends with a new one', (name) => {
    expect(read(`${VERSION}-${name}.json`).events.at(-1)).toHaveProperty('workflowExecutionContinuedAsNewEventAttributes');
  });

  it.each(files)('%s replays', async (name) => {
    expect(await replay(read(name))).toBeUndefined();
  });

  it('would show a workflow that goes another way', async () => {
    const history = read(files.find((name) => name.includes('all-succeeded'))!);
    const event = history.events.find((each) => each.activityTaskScheduledEventAttributes?.activityType.name === 'runAction')!;
    event.activityTaskScheduledEventAttributes!.activityType.name = 'anotherActivity';
    expect(await replay(history)).toBeInstanceOf(DeterminismViolationError);
  });
});
