import type { Database, Queryable } from './database.ts';
import { readDeployedAction } from './deployed-action.ts';
import { changeFlow, flowIdOf, lockFlow } from './flow-rows.ts';
import { cancel, close, outcomeOf } from './ledger-close.ts';
import { isOpen, type LockedRegistration, lockRegistration, NOT_HELD, policyOf, UnknownIdError } from './ledger-rows.ts';
import { createOutbox } from './outbox.ts';
import type { Row, StepState } from './schema.ts';

/** `reason`: a sentence for the person who asked. */
export type CommandResult = { changed: true } | { changed: false; reason: string };

export interface RedriveOptions {
  /**
   * `failed`: those that ended without success (failed, blocked, cancelled). `all`: these and those that succeeded, were
   * skipped or wait. `from`: this one and all after it. `waitingAndFailedOf`: those of one Action that are open or failed,
   * and what is blocked behind them.
   */
  steps: 'failed' | 'all' | { from: string } | { waitingAndFailedOf: string };
  /** That which the step was made with, or that which is deployed now, with the secrets that its binding has now. */
  version: 'pinned' | 'deployed';
}

/**
 * What a person can ask of one registration. Each changes the ledger within the caller's transaction and makes the
 * registration due, so that its workflow, or a new one, takes it up; nothing here needs Temporal. After the commit,
 * wake the dispatcher.
 *
 * An attempt that is alive is never doubled: its lease keeps the next one away until it has ended.
 *
 * All throw {UnknownIdError} for a registration or a step that the store does not have.
 */
export interface LedgerCommands {
  /** Ends what is open as cancelled and closes the registration. An attempt that runs is killed as soon as its workflow has looked. */
  cancel(tx: Queryable, registrationId: string): Promise<CommandResult>;
  /** Says that a step is not to run (any more), and lets what waited for its success go on. An attempt that runs is killed. */
  skip(tx: Queryable, registrationId: string, stepId: string): Promise<CommandResult>;
  /** Makes the next attempt of a waiting step, or of all of them, due now. It counts as it would have counted later. */
  retryNow(tx: Queryable, registrationId: string, stepId: string | null): Promise<CommandResult>;
  /**
   * Runs steps again from their first quick attempt on. One that had succeeded begins a new run, with a new idempotency
   * key; the others keep theirs. A registration that was closed is open again.
   */
  redrive(tx: Queryable, registrationId: string, options: RedriveOptions): Promise<CommandResult>;
}

type StepRow = Row<'step'>;
type Changes = Map<string, Partial<StepRow>>;

const FROM_THE_START = { state: 'pending', phase: 'quick', counted: 0, phase_started_at: null, next_at: null, ended_at: null, ...NOT_HELD } as const;

/** The part of the ledger that does what people ask for. */
export function createLedgerCommands({ database }: { database: Database }): LedgerCommands {
  const outbox = createOutbox({ database });

  /** Writes the changed steps and what follows for the registration: open and due, or closed. */
  async function apply(tx: Queryable, { row, steps, now }: LockedRegistration, changes: Changes): Promise<CommandResult> {
    for (const [id, change] of changes) {
      await tx.updateTable('step').set((eb) => ({ ...change, wish: eb('wish', '+', 1) })).where('id', '=', id).execute();
    }
    const after = changed(steps, changes);
    if (after.some((step) => isOpen(step.state))) {
      if (row.state === 'closed') {
        await tx.updateTable('registration').set({ state: 'open', outcome: null, closed_at: null }).where('id', '=', row.id).execute();
      }
      await outbox.makeDue(row.id, tx);
    } else if (row.state === 'open') {
      await close(tx, row.id, outcomeOf(after), now);
      await outbox.requestLook(row.id, tx);
    } else if (row.outcome === 'failed') {
      await tx.updateTable('registration').set({ outcome: outcomeOf(after) }).where('id', '=', row.id).execute();
    }
    return { changed: true };
  }

  /** Its receiver is taken to be down: unless another attempt tries for all just now, the next one does. */
  async function probeNow(tx: Queryable, actionId: string, now: number): Promise<void> {
    const flow = await lockFlow(database, tx, flowIdOf(actionId));
    if (flow.down_since !== null) await changeFlow(tx, flow.id, { next_probe_at: now }, now);
  }

  return {
    async cancel(tx, registrationId) {
      const registration = await lockRegistration(database, tx, registrationId);
      if (!registration.steps.some((step) => isOpen(step.state))) return unchanged('None of its Actions is running or waiting, so there is nothing to cancel.');
      await cancel(tx, registration);
      await outbox.requestLook(registrationId, tx);
      return { changed: true };
    },

    async skip(tx, registrationId, stepId) {
      const registration = await lockRegistration(database, tx, registrationId);
      const step = stepOf(registration, stepId);
      if (!isOpen(step.state) && step.state !== 'failed' && step.state !== 'blocked') {
        return unchanged(`It is ${step.state}: only an Action that has not ended, has failed or is blocked can be skipped.`);
      }
      const changes: Changes = new Map([[stepId, { state: 'skipped', next_at: null, ended_at: registration.now, ...NOT_HELD }]]);
      return await apply(tx, registration, unblock(registration, changes));
    },

    async retryNow(tx, registrationId, stepId) {
      const registration = await lockRegistration(database, tx, registrationId);
      const { steps, now } = registration;
      const wanted = (stepId === null ? steps : [stepOf(registration, stepId)]).filter((step) => isOpen(step.state));
      if (wanted.length === 0) return unchanged('It has ended: redrive it.');
      const running = await runningSteps(tx, wanted, now);
      const waiting = wanted.filter((step) => !running.has(step.id) && step.held_reason !== 'paused' && (step.held_reason !== null || (step.next_at ?? 0) > now));
      if (waiting.length === 0) {
        if (running.size > 0) return unchanged('An attempt is running now.');
        if (wanted.some((step) => step.held_reason === 'paused')) return unchanged('It is paused: resume its Action or the trigger.');
        return unchanged('Its next attempt is due already: it is about to begin, or waits for the Actions before it.');
      }
      // It keeps its place in the queue of its Action, should there be no room.
      const result = await apply(tx, registration, new Map(waiting.map(({ id }) => [id, { next_at: null, held_reason: null, let_go_at: null }])));
      const down = new Set(waiting.flatMap((step) => (step.held_reason === 'down' ? [step.action_id] : [])));
      for (const actionId of [...down].toSorted()) await probeNow(tx, actionId, now);
      return result;
    },

    async redrive(tx, registrationId, options) {
      const registration = await lockRegistration(database, tx, registrationId);
      const chosen = chosenBy(registration, options.steps);
      if (chosen.length === 0) return unchanged(nothingFor(options.steps));
      const behind = blockerOf(registration.steps, chosen);
      if (behind !== null) return unchanged(`What is asked for waits for the success of '${behind.action_name}', which is ${behind.state}: redrive from that one, or skip it.`);

      const changes: Changes = new Map();
      for (const step of chosen) {
        const version = options.version === 'deployed' ? await deployedVersion(tx, step) : {};
        if (version === null) return unchanged(`The Action '${step.action_name}' is gone, not deployed, or for another trigger: there is no version of it to move to.`);
        if (isUntried(step) && (version.version_id ?? step.version_id) === step.version_id) continue;
        const run = step.state === 'succeeded' ? step.run + 1 : step.run;
        changes.set(step.id, { ...FROM_THE_START, ...version, run, redrives: step.redrives + 1 });
      }
      if (changes.size === 0) return unchanged('It is waiting for its first attempt already.');
      return await apply(tx, registration, unblock(registration, changes));
    },
  };
}

function unchanged(reason: string): CommandResult {
  return { changed: false, reason };
}

function stepOf({ steps }: LockedRegistration, stepId: string): StepRow {
  const step = steps.find((each) => each.id === stepId);
  if (step === undefined) throw new UnknownIdError('step', stepId);
  return step;
}

function chosenBy(registration: LockedRegistration, wanted: RedriveOptions['steps']): StepRow[] {
  const { steps } = registration;
  if (wanted === 'all') return steps;
  if (wanted === 'failed') return steps.filter((step) => isOneOf(step.state, 'failed', 'blocked', 'cancelled'));
  if ('waitingAndFailedOf' in wanted) return steps.filter((step) => step.action_id === wanted.waitingAndFailedOf && isOneOf(step.state, 'pending', 'parked', 'failed'));
  const { position } = stepOf(registration, wanted.from);
  return steps.filter((step) => step.position >= position);
}

function nothingFor(wanted: RedriveOptions['steps']): string {
  if (wanted === 'all') return 'No Action was bound when it was made.';
  return wanted === 'failed' ? 'None of its Actions has failed or was cancelled.' : 'That Action neither waits nor has failed in it.';
}

/** Its first attempt, or that of its new run, is still to come: a second click must not count as another redrive. */
function isUntried(step: StepRow): boolean {
  return step.state === 'pending' && step.phase_started_at === null && step.next_at === null;
}

function changed(steps: StepRow[], changes: Changes): StepRow[] {
  return steps.map((step) => ({ ...step, ...changes.get(step.id) }));
}

/** Keeps the Actions after it from running: they wait for its success, and nothing is being done for it. */
export function stops(step: StepRow): boolean {
  return policyOf(step).onFailure === 'wait' && isOneOf(step.state, 'failed', 'blocked', 'cancelled');
}

/** The step that would keep the chosen ones from running, and is not among them. */
function blockerOf(steps: StepRow[], chosen: StepRow[]): StepRow | null {
  const last = chosen.at(-1)!.position;
  return steps.find((step) => step.position < last && !chosen.includes(step) && stops(step)) ?? null;
}

/** Adds to the changes that what no step before it stops any more is not blocked. */
function unblock({ steps }: LockedRegistration, changes: Changes): Changes {
  for (const step of changed(steps, changes)) {
    if (step.state === 'blocked') changes.set(step.id, FROM_THE_START);
    else if (stops(step)) break;
  }
  return changes;
}

async function runningSteps(tx: Queryable, steps: StepRow[], now: number): Promise<Set<string>> {
  const alive = await tx.selectFrom('attempt')
    .select('step_id')
    .where('step_id', 'in', steps.map((step) => step.id))
    .where('ended_at', 'is', null)
    .where('leased_until', '>', now)
    .execute();
  return new Set(alive.map((attempt) => attempt.step_id));
}

/** What a step has of the version that is deployed now; null when there is none that could run. */
async function deployedVersion(tx: Queryable, step: StepRow): Promise<Partial<StepRow> | null> {
  const deployed = await readDeployedAction(tx, step.action_id);
  if (deployed === null) return null;
  return {
    action_name: deployed.actionName,
    version_id: deployed.versionId,
    version_number: deployed.versionNumber,
    ...(deployed.bindingId === '' ? {} : { binding_secrets_id: deployed.bindingSecretsId }),
  };
}

function isOneOf(state: StepState, ...states: StepState[]): boolean {
  return states.includes(state);
}
