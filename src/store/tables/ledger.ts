import type { Generated } from 'kysely';
import type { Flag } from './flag.ts';

export type RegistrationState = 'open' | 'closed';
export type RegistrationOutcome = 'succeeded' | 'failed' | 'cancelled' | 'nothing-bound';

/** A committed sign-up with its event. Its id is also the id of its post-user-registration execution. */
export interface RegistrationTable {
  id: string;
  /** The way in, e.g. `signup`; see docs/registrations.md. */
  source: string;
  user_id: string;
  connection_id: string;
  connection_name: string;
  client_id: string | null;
  /** JSON: the event without `secrets` and `usher`, which each invocation adds. */
  event_sealed: string;
  key_id: string;
  state: RegistrationState;
  outcome: RegistrationOutcome | null;
  /** Outbox: due to be handed to Temporal at this time; null when Temporal has it. */
  due_at: number | null;
  /** Grows each time that the registration is made due, so that an older hand-over cannot clear a newer wish. */
  due_seq: number;
  /** Outbox: the lease of the dispatcher that hands it over now. */
  claimed_until: number | null;
  dispatch_failures: number;
  dispatch_error: string | null;
  /** When Temporal took it last. */
  handed_over_at: Generated<number | null>;
  /** When the sweep asks Temporal about it, if it is not heard of before. */
  check_at: number | null;
  created_at: number;
  closed_at: number | null;
  /** W3C `traceparent` of the sign-up, when traces are on. */
  trace_parent: Generated<string | null>;
}

/** A registration that was handed in from outside, by its idempotency key. */
export interface HandedInTable {
  /** SHA-256 of the client's id and its key, hex. */
  key_hash: string;
  /** SHA-256 of the body, hex: the same key with another one is a mistake. */
  body_hash: string;
  registration_id: string;
  created_at: number;
}

/**
 * `pending` and `parked` are open. `skipped`: a person has said that it is not to run. `blocked` waits for a step that failed for good (`onFailure: wait`); like `failed`
 * it can be redriven.
 */
export type StepState = 'pending' | 'parked' | 'succeeded' | 'failed' | 'blocked' | 'cancelled' | 'skipped';

/**
 * Why a step is not tried now, for a reason of ours. `paused`: a person has paused its Action or its trigger. `down`: so
 * many attempts at its Action failed that its receiver is taken to be down. `concurrency`: as many attempts at it run as
 * its binding allows. `busy`: it has its share of this worker's sandboxes.
 */
export type HeldReason = 'paused' | 'down' | 'concurrency' | 'busy';

/** One bound Action of one registration: everything about it fixed when the registration committed. */
export interface StepTable {
  id: string;
  registration_id: string;
  position: number;
  action_id: string;
  action_name: string;
  binding_id: string;
  version_id: string;
  version_number: number;
  policy: string;
  /** The binding's secrets of that moment. */
  binding_secrets_id: Generated<string | null>;
  /** Grows only when a step that had succeeded is run again. */
  run: number;
  state: StepState;
  phase: 'quick' | 'long';
  /** Attempts that counted in this phase. */
  counted: number;
  /** Number of the last attempt; goes on through phases, runs and restarts. */
  last_attempt: number;
  phase_started_at: number | null;
  /** When the next attempt is due after a failure. */
  next_at: number | null;
  ended_at: number | null;
  /** Grows with each wish about when, whether and with which version it runs, so that its workflow takes it up anew. */
  wish: Generated<number>;
  /** How often it was run again on somebody's wish; such attempts go after first ones. */
  redrives: Generated<number>;
  /** Set while it is held; null again as soon as it is let go. */
  held_reason: Generated<HeldReason | null>;
  /** Since when it waits in the queue of its Action, until an attempt begins; those that wait for longest go first. */
  held_at: Generated<number | null>;
  /** When it was let go; until its workflow has come for it, the room that was made is kept for it. */
  let_go_at: Generated<number | null>;
}

export type AttemptOutcome = 'succeeded' | 'failed' | 'lost' | 'cancelled';

export interface AttemptTable {
  id: string;
  step_id: string;
  registration_id: string;
  run: number;
  number: number;
  phase: 'quick' | 'long';
  worker_id: string;
  started_at: number;
  /** By the store's clock. The worker renews it, or kills the attempt before it runs out. */
  leased_until: number;
  ended_at: number | null;
  outcome: AttemptOutcome | null;
  /** 1 when a failure was the Action's own. */
  counted: Flag;
  error_type: string | null;
  /** JSON `ActionError`. */
  error_sealed: string | null;
  /** JSON `OutgoingCall[]`. */
  calls_sealed: string | null;
  /** JSON `{lines: LogLine[], truncated}`; later output of left-over work is added. */
  logs_sealed: string | null;
  /** The step's Action, for what counts the attempts of one. Null for those made before 0.2.0. */
  action_id: Generated<string | null>;
  /** Calls that were refused or not answered. */
  failed_calls: Generated<number>;
}

/** An execution of pre-user-registration; that of post-user-registration is the registration with its steps. */
export interface ExecutionTable {
  id: string;
  trigger_id: string;
  /** Null when the sign-up was denied. */
  registration_id: string | null;
  status: 'final' | 'partial' | 'canceled';
  /** JSON: per Action its name, times, error, logs and calls. */
  results_sealed: string;
  key_id: string;
  created_at: number;
  updated_at: number;
}

/** `api.cache`, scoped to the trigger. */
export interface CacheEntryTable {
  trigger_id: string;
  key: string;
  value_sealed: string;
  key_id: string;
  expires_at: number;
}
