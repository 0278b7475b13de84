import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

/** Of a series' label `action`: a hundred Actions can be there at a time, and they can be renamed. */
const MAX_ACTIONS = 300;

/** Seconds. A sign-up may take as long as its Actions are given: 20 s. */
const SIGN_UP_BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20];
/** Seconds. An attempt has 30 s by default and 10 minutes at most. */
const ATTEMPT_BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 600];
const WAIT_BUCKETS = [0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Everything that a process counts, by Prometheus's conventions; docs/observability.md has the table. */
export type Metrics = ReturnType<typeof createMetrics>;

/**
 * Makes the metrics of a process, of which there may be several. Each stands in both roles, also where only one of them
 * counts it, so that alerts never look for a name that is not there.
 */
export function createMetrics({ role, version }: { role: string; version: string }) {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];

  const counter = <L extends string = never>(name: string, help: string, labelNames: L[] = []) => new Counter<L>({ name, help, labelNames, registers });
  const histogram = <L extends string = never>(name: string, help: string, buckets: number[], labelNames: L[] = []) => new Histogram<L>({ name, help, labelNames, buckets, registers });
  /** @param read answers what is true when it is asked: at each scrape. */
  const gauge = (name: string, help: string, read: () => number | Promise<number>): void => {
    // oxlint-disable-next-line no-new -- it is in the registry from now on
    new Gauge({ name, help, registers, async collect() { this.set(await read()); } });
  };

  new Gauge({ name: 'usher_build_info', help: 'Always 1; its labels say what runs.', labelNames: ['role', 'version'], registers }).set({ role, version }, 1);

  const metrics = {
    registry,
    gauge,
    signUps: counter('usher_signups_total', 'Sign-ups by way in and result.', ['source', 'result']),
    signUpSeconds: histogram('usher_signup_duration_seconds', 'Time of a sign-up that has passed the rules of its connection: Actions, password hash and commit.', SIGN_UP_BUCKETS, ['source']),
    commitSeconds: histogram('usher_commit_duration_seconds', 'Time of the transaction that commits a registration.', SIGN_UP_BUCKETS),
    preRegistrationSeconds: histogram('usher_pre_registration_duration_seconds', 'Time of one pre-user-registration Action, its wait for a process included.', SIGN_UP_BUCKETS, ['action', 'verdict']),
    handOvers: counter('usher_hand_overs_total', 'Registrations handed to Temporal, by result.', ['result']),
    registrationsClosed: counter('usher_registrations_closed_total', 'Closings of registrations by outcome; one that is redriven closes again.', ['outcome']),
    attempts: counter('usher_attempts_total', 'Ended attempts at post-user-registration Actions.', ['action', 'outcome']),
    attemptSeconds: histogram('usher_attempt_duration_seconds', 'Time of an attempt in its sandbox.', ATTEMPT_BUCKETS, ['action']),
    failedCalls: counter('usher_failed_calls_total', 'Outgoing requests of post-user-registration Actions that were refused or not answered, also where the attempt succeeded.', ['action']),
    sandboxStarts: counter('usher_sandbox_starts_total', 'Sandbox processes started.', ['pool', 'result']),
    sandboxWaitSeconds: histogram('usher_sandbox_wait_seconds', 'Time that an invocation waited for a free sandbox process.', WAIT_BUCKETS, ['pool', 'result']),
    builds: counter('usher_builds_total', 'Ended builds of drafts.', ['result']),
    buildSeconds: histogram('usher_build_duration_seconds', 'Time of a build.', [0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300]),
  };

  // What has never happened stands there as 0: the first time is an increase too.
  for (const result of ['created', 'exists', 'refused', 'denied', 'action_failed', 'error']) metrics.signUps.inc({ source: 'signup', result }, 0);
  for (const outcome of ['succeeded', 'failed', 'cancelled', 'nothing-bound']) metrics.registrationsClosed.inc({ outcome }, 0);
  for (const result of ['built', 'failed', 'overtaken']) metrics.builds.inc({ result }, 0);
  return {
    ...metrics,
    /** Labels for Actions of the two triggers. */
    preAction: boundedLabel((action) => {
      for (const verdict of ['allowed', 'denied', 'failed', 'not_run']) metrics.preRegistrationSeconds.zero({ action, verdict });
    }),
    postAction: boundedLabel((action) => {
      for (const outcome of ['succeeded', 'failed', 'lost', 'cancelled']) metrics.attempts.inc({ action, outcome }, 0);
    }),
  };
}

/** Gives names through until there are too many of them; every further one is `other`. @param onNew makes its series. */
function boundedLabel(onNew: (name: string) => void): (name: string) => string {
  const known = new Set<string>();
  return (name) => {
    if (!known.has(name)) {
      if (known.size >= MAX_ACTIONS) return 'other';
      known.add(name);
      onNew(name);
    }
    return name;
  };
}
