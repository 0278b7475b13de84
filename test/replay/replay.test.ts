import { DeterminismViolationError } from '@temporalio/workflow';
import { Worker } from '@temporalio/worker';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { workflowBundle } from '../workflows/harness.ts';
import { SCENARIOS } from './scenarios.ts';

const FOLDER = new URL('histories/', import.meta.url);
const files = readdirSync(FOLDER).filter((name) => name.endsWith('.json'));

interface HistoryJson {
  events: { activityTaskScheduledEventAttributes?: { activityType: { name: string } } }[];
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
  it('are there for each scenario, and for nothing else', () => {
    const scenarios = new Set(files.map((name) => name.replace(/^\d+\.\d+\.\d+-/, '').replace(/\.json$/, '')));
    expect([...scenarios].toSorted()).toEqual(Object.keys(SCENARIOS).toSorted());
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
