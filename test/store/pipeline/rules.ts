import { type Database, storeNow } from '../../../src/store/database.ts';
import { parsePolicy } from '../../../src/domain/policy.ts';
import { flowIdOf, POST_USER_REGISTRATION_FLOW } from '../../../src/store/flow-rows.ts';
import type { Row, StepState } from '../../../src/store/schema.ts';

/** What may hold between two moments of the pipeline, whatever happened in between. */

/** What was asked of the store between two moments; each entry may have changed each step once. */
export type Cause = 'claim' | 'settle' | 'close' | 'cancel' | 'skip' | 'retry now' | 'redrive' | 'resume';

/** Every way that a step may go. `newRun`: only with another run, and so another idempotency key. */
const LEGAL: readonly { from: readonly StepState[]; to: StepState; by: readonly Cause[]; newRun?: true }[] = [
  { from: ['pending'], to: 'parked', by: ['claim', 'settle'] },
  { from: ['pending', 'parked'], to: 'succeeded', by: ['settle'] },
  { from: ['pending', 'parked'], to: 'failed', by: ['settle'] },
  { from: ['pending', 'parked'], to: 'blocked', by: ['settle'] },
  { from: ['pending', 'parked'], to: 'cancelled', by: ['cancel'] },
  { from: ['pending', 'parked', 'failed', 'blocked'], to: 'skipped', by: ['skip'] },
  { from: ['parked', 'failed', 'cancelled', 'skipped'], to: 'pending', by: ['redrive'] },
  { from: ['blocked'], to: 'pending', by: ['redrive', 'skip'] },
  { from: ['succeeded'], to: 'pending', by: ['redrive'], newRun: true },
];

const CLOSED_BY: readonly Cause[] = ['close', 'cancel', 'skip'];
const REOPENED_BY: readonly Cause[] = ['redrive', 'skip'];

export interface Snapshot {
  now: number;
  registrations: Map<string, Row<'registration'>>;
  steps: Map<string, Row<'step'>>;
  attempts: Map<string, Row<'attempt'>>;
  flows: Map<string, Row<'flow'>>;
}

export async function takeSnapshot(database: Database): Promise<Snapshot> {
  const { db } = database;
  const byId = <R extends { id: string }>(rows: R[]) => new Map(rows.map((row) => [row.id, row]));
  // The clock first: a lease that ends meanwhile is still taken for alive, and no claim comes in between.
  const now = await storeNow(database);
  const [registrations, steps, attempts, flows] = await Promise.all([
    db.selectFrom('registration').selectAll().execute(),
    db.selectFrom('step').selectAll().orderBy('position').execute(),
    db.selectFrom('attempt').selectAll().orderBy('number').execute(),
    db.selectFrom('flow').selectAll().execute(),
  ]);
  return { now, registrations: byId(registrations), steps: byId(steps), attempts: byId(attempts), flows: byId(flows) };
}

/** @throws an error that names the rule that is broken. */
export function checkChange(before: Snapshot, after: Snapshot, causes: Cause[]): void {
  for (const [id, row] of before.registrations) checkRegistration(row, after.registrations.get(id), causes);
  for (const [id, row] of before.steps) checkStep(row, after.steps.get(id), causes);
  for (const [id, row] of before.attempts) checkAttempt(row, after.attempts.get(id));
  const begun = [...after.attempts.values()].filter(({ id }) => !before.attempts.has(id));
  rule(begun.length <= causes.filter((cause) => cause === 'claim').length, 'an attempt begins only by a claim');
  for (const attempt of begun) checkBegun(attempt, before, causes);
  checkMoment(after);
}

function checkRegistration(before: Row<'registration'>, after: Row<'registration'> | undefined, causes: Cause[]): void {
  if (after === undefined) throw broken('a registration is never lost', before.id);
  rule(after.due_seq >= before.due_seq, 'due_seq never goes back', before.id);
  const by = before.state === 'open' ? CLOSED_BY : REOPENED_BY;
  rule(before.state === after.state || causes.some((cause) => by.includes(cause)), 'a registration closes and opens for a reason', before.id, after.state, causes);
}

function checkStep(before: Row<'step'>, after: Row<'step'> | undefined, causes: Cause[]): void {
  if (after === undefined) throw broken('a step is never lost', before.id);
  const asked = `${before.state}, run ${before.run} → ${after.state}, run ${after.run}`;
  rule(canGo(before, after, causes), 'a step goes only where it may', asked, causes);
  rule(after.last_attempt >= before.last_attempt && after.wish >= before.wish && after.redrives >= before.redrives, 'what a step counts never goes back', before.id);
}

/** Whether the causes, each used at most once and in any order, lead from one state to the other. */
function canGo(from: Pick<Row<'step'>, 'state' | 'run'>, to: Pick<Row<'step'>, 'state' | 'run'>, causes: Cause[]): boolean {
  if (from.state === to.state && from.run === to.run) return true;
  return LEGAL.some((way) => {
    if (!way.from.includes(from.state)) return false;
    const index = causes.findIndex((cause) => way.by.includes(cause));
    return index >= 0 && canGo({ state: way.to, run: from.run + (way.newRun ? 1 : 0) }, to, causes.toSpliced(index, 1));
  });
}

function checkAttempt(before: Row<'attempt'>, after: Row<'attempt'> | undefined): void {
  if (after === undefined) throw broken('an attempt is never lost', before.id);
  const isLate = before.outcome === 'lost' && (after.outcome === 'succeeded' || after.outcome === 'failed');
  rule(before.outcome === null || before.outcome === after.outcome || isLate, 'an attempt ends once', `${before.outcome} → ${after.outcome}`);
}

function checkBegun(attempt: Row<'attempt'>, before: Snapshot, causes: Cause[]): void {
  const step = before.steps.get(attempt.step_id)!;
  const reopened = causes.some((cause) => REOPENED_BY.includes(cause));
  rule(isOpen(step.state) || reopened, 'an attempt begins only at an open step', step.state);
  // One that somebody had cancelled, and redrives, may have an attempt that succeeded late: its key stays, as the step's success does not count.
  const hasSucceeded = step.redrives === 0 && [...before.attempts.values()].some((each) => each.step_id === step.id && each.run === attempt.run && each.outcome === 'succeeded');
  rule(!hasSucceeded && (step.state !== 'succeeded' || attempt.run > step.run), 'what has succeeded runs again only with a new key', step.id);
  const isPaused = [POST_USER_REGISTRATION_FLOW, flowIdOf(step.action_id)].some((id) => (before.flows.get(id)?.paused_at ?? null) !== null);
  rule(!isPaused || causes.includes('resume'), 'nothing begins while it is paused', step.id);
}

/** What holds at each moment. */
function checkMoment({ registrations, steps, attempts, now }: Snapshot): void {
  const alive = new Map<string, number>();
  for (const step of steps.values()) {
    const own = [...attempts.values()].filter((attempt) => attempt.step_id === step.id);
    rule(own.every((attempt, index) => attempt.number === index + 1) && own.length === step.last_attempt, 'attempt numbers have no gaps', own.map(({ number }) => number));
    rule(own.every((attempt) => attempt.run <= step.run), 'an attempt belongs to a run', step.id);
    const living = own.filter((attempt) => attempt.ended_at === null && attempt.leased_until > now).length;
    rule(living <= 1, 'at most one attempt at a step is alive', step.id);
    alive.set(step.action_id, (alive.get(step.action_id) ?? 0) + living);
    rule(alive.get(step.action_id)! <= (parsePolicy(step.policy).concurrency ?? Infinity), 'no more attempts are alive than the binding allows', step.action_id);
    if (step.state === 'succeeded') {
      rule(own.some((attempt) => attempt.run === step.run && attempt.outcome === 'succeeded'), 'a step succeeds by an attempt that succeeded', step.id);
    }
  }
  for (const registration of registrations.values()) {
    const own = [...steps.values()].filter((step) => step.registration_id === registration.id).map(({ state }) => state);
    rule(registration.state === 'open' || !own.some(isOpen), 'a closed registration has no open step', own);
    rule(isRightOutcome(registration, own), 'the outcome is that of the steps', registration.outcome, own);
  }
}

function isRightOutcome({ state, outcome }: Row<'registration'>, steps: StepState[]): boolean {
  if (state === 'open') return outcome === null;
  if (outcome === 'succeeded') return steps.every((step) => step === 'succeeded' || step === 'skipped');
  if (outcome === 'cancelled') return steps.includes('cancelled');
  return outcome === 'failed' && (steps.includes('failed') || steps.includes('blocked'));
}

/** What holds when nobody asks for anything any more and enough time has passed. */
export function checkAtRest({ registrations, steps }: Snapshot): void {
  for (const { id, state, due_at: dueAt, claimed_until: claimedUntil } of registrations.values()) {
    rule(state === 'closed', 'every registration reaches its outcome', id, [...steps.values()].filter((step) => step.registration_id === id));
    rule(dueAt === null && claimedUntil === null, 'nothing due is left behind', id);
  }
  for (const step of steps.values()) rule(step.held_reason === null && step.next_at === null, 'no step is held for ever', step);
}

function isOpen(state: StepState): boolean {
  return state === 'pending' || state === 'parked';
}

function rule(holds: boolean, text: string, ...details: unknown[]): void {
  if (!holds) throw broken(text, ...details);
}

function broken(text: string, ...details: unknown[]): Error {
  return new Error(`Broken rule: ${text}. ${JSON.stringify(details)}`);
}
