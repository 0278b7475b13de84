import { proxyActivities } from '@temporalio/workflow';
import type { Activities } from './contract.ts';

const { load, act, record } = proxyActivities<Activities>({ startToCloseTimeout: '1 minute' });

/** What somebody would write without Usher: load, three steps, record. */
export async function handWritten(id: string): Promise<void> {
  await load(id);
  await act(id);
  await act(id);
  await act(id);
  await record(id);
}
