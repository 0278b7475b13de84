import { setTimeout as pause } from 'node:timers/promises';
import type { ReceiverAnswer } from '../../examples/receiver.ts';
import { parseDelivery } from './actions.ts';
import type { SeededRandom } from './seeded-random.ts';
import { until } from './until.ts';

const MAX_REFUSALS = 2;
const REFUSED_SHARE = 0.3;

/** What clients have been told. */
export interface SignUpLoad {
  /** E-mails of sign-ups that were begun. */
  begun: string[];
  /** Of those that were answered 200, or `user_exists` to a client that tried again after it had got no answer. */
  acknowledged: string[];
  /** How often there was no answer (0) or another status than 200, by status. */
  others: Map<number, number>;
  /** What ended a client. */
  failures: unknown[];
  /** Resolves when each client has got its last answer. @throws what ended a client. */
  stop(): Promise<void>;
}

/**
 * Starts clients that sign up one person after another, and try again while they get no answer.
 *
 * @param options.signUp null when it gives no answer.
 * @param options.pauseMs between two people of one client.
 */
export function startSignUps(options: {
  clients: number;
  signUp: (email: string) => Promise<{ status: number; body: Record<string, unknown> } | null>;
  pauseMs: () => number;
  /** Begins each e-mail: of several loads on one Usher, each has its own. @default client */
  name?: string;
}): SignUpLoad {
  const { signUp, pauseMs, name = 'client' } = options;
  const over = new AbortController();

  async function client(number: number): Promise<void> {
    for (let n = 1; !over.signal.aborted; n++) {
      const email = `${name}-${number}-person-${n}@example.com`;
      load.begun.push(email);
      let tries = 0;
      await until(`the sign-up of ${email} is answered`, async () => {
        const answer = await signUp(email);
        if (answer?.status === 200 || (tries++ > 0 && answer?.body['code'] === 'user_exists')) return true;
        if (answer !== null && answer.status !== 503) throw new Error(`The sign-up of ${email} was answered ${answer.status}: ${JSON.stringify(answer.body)}`);
        load.others.set(answer?.status ?? 0, (load.others.get(answer?.status ?? 0) ?? 0) + 1);
        await pause(200);
        return false;
      }, 120_000);
      load.acknowledged.push(email);
      await pause(pauseMs());
    }
  }

  const load: SignUpLoad = {
    begun: [],
    acknowledged: [],
    others: new Map(),
    failures: [],
    async stop() {
      over.abort();
      await clients;
      if (load.failures.length > 0) throw load.failures[0];
    },
  };
  const clients = Promise.all(Array.from({ length: options.clients }, (_, number) => client(number).catch((error: unknown) => load.failures.push(error))));
  return load;
}

/** A receiver that takes its time, and refuses one Action now and then, at most twice for one key. */
export function refusingNowAndThen(flaky: string, chance: SeededRandom): (request: { body: string }) => ReceiverAnswer {
  const refusals = new Map<string, number>();
  return ({ body }) => {
    const { action, key } = parseDelivery(body);
    const refused = refusals.get(key) ?? 0;
    const delayMs = chance.between(50, 900);
    if (action !== flaky || refused >= MAX_REFUSALS || chance.next() > REFUSED_SHARE) return { status: 200, delayMs };
    refusals.set(key, refused + 1);
    return { status: 500, delayMs };
  };
}
