import type { Backfill } from '../registration/backfill.ts';
import type { Queryable } from '../store/database.ts';
import type { CommandResult, LedgerCommands } from '../store/ledger-commands.ts';
import type { BulkOutcome, BulkWork } from './bulk-runner.ts';

/** What each kind of bulk operation does with one registration, or with one user. */
export function createBulkWork({ commands, backfill }: { commands: LedgerCommands; backfill: Backfill }): BulkWork {
  /** Asks it of each step of the Action. */
  async function ofSteps(command: 'retryNow' | 'skip', tx: Queryable, registrationId: string, actionId: string): Promise<CommandResult[]> {
    const steps = await tx.selectFrom('step').select('id').where('registration_id', '=', registrationId).where('action_id', '=', actionId).orderBy('position').execute();
    const results: CommandResult[] = [];
    for (const { id } of steps) results.push(await commands[command](tx, registrationId, id));
    return results;
  }

  return async (tx, task, subjectId) => {
    switch (task.kind) {
      case 'cancel':
        return outcomeOf(subjectId, [await commands.cancel(tx, subjectId)]);
      case 'redrive': {
        const steps = task.steps === 'waiting-and-failed' ? { waitingAndFailedOf: task.actionId } : task.steps;
        return outcomeOf(subjectId, [await commands.redrive(tx, subjectId, { steps, version: task.version })]);
      }
      case 'retry':
        return outcomeOf(subjectId, task.actionId === undefined ? [await commands.retryNow(tx, subjectId, null)] : await ofSteps('retryNow', tx, subjectId, task.actionId));
      case 'skip':
        return outcomeOf(subjectId, await ofSteps('skip', tx, subjectId, task.actionId));
      // A backfill.
      default: {
        const { changed, ...rest } = await (task.of === 'users' ? backfill.registerUser(tx, subjectId, task.actionId) : backfill.addStep(tx, subjectId, task.actionId));
        return { result: changed ? 'changed' : 'unchanged', ...rest };
      }
    }
  };
}

function outcomeOf(registrationId: string, results: CommandResult[]): BulkOutcome {
  if (results.some(({ changed }) => changed)) return { registrationId, result: 'changed', reason: null };
  const [first] = results;
  return { registrationId, result: 'unchanged', reason: first?.changed === false ? first.reason : 'It has no step of the Action.' };
}
