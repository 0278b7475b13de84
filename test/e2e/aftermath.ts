import { expect } from 'vitest';
import type { ReceivedDelivery } from './actions.ts';
import type { SeenRegistration } from './ledger-view.ts';
import type { SignUpLoad } from './sign-up-load.ts';

/** What must hold of a load whatever has happened meanwhile. */
export interface Aftermath {
  load: SignUpLoad;
  /** The Actions in binding order. */
  actions: string[];
  /** Of all users. */
  emails: string[];
  registrations: SeenRegistration[];
  received: ReceivedDelivery[];
}

export function expectNothingLost({ load, actions, emails, received }: Aftermath): void {
  expect(load.acknowledged.length).toBeGreaterThan(20);
  expect(load.acknowledged.toSorted()).toEqual(load.begun.toSorted());
  for (const email of load.acknowledged) {
    expect(emails).toContain(email);
    const through = new Set(received.filter((each) => each.email === email && each.status === 200).map(({ action }) => action));
    expect([...through].toSorted(), email).toEqual(actions);
  }
}

export function expectAllRanAndNothingElse({ emails, registrations, received }: Aftermath): void {
  expect(registrations.map(({ email }) => email).toSorted()).toEqual(emails.toSorted());
  for (const { email, outcome } of registrations) expect({ email, outcome }).toEqual({ email, outcome: 'succeeded' });
  const committed = new Set(emails);
  expect(received.filter(({ email }) => !committed.has(email))).toEqual([]);
}

export function expectBindingOrder({ actions, registrations, received }: Aftermath): void {
  for (const { email } of registrations) {
    const order = received.filter((each) => each.email === email).map(({ action }) => action);
    expect(order, email).toEqual(order.toSorted((a, b) => actions.indexOf(a) - actions.indexOf(b)));
  }
}

/**
 * All deliveries of one key are one step's, each by an attempt of its own.
 *
 * @returns for each key its deliveries, in the order of arrival.
 */
export function expectOneKeyForEachStep({ actions, registrations, received }: Aftermath): Map<string, ReceivedDelivery[]> {
  const byKey = Map.groupBy(received, ({ key }) => key);
  expect(byKey.size).toBe(registrations.length * actions.length);
  for (const [key, all] of byKey) {
    expect(new Set(all.map(({ email, action }) => `${email} ${action}`)).size, `the key ${key} is one step's`).toBe(1);
    expect(new Set(all.map(({ attempt }) => attempt)).size, `each attempt with the key ${key} delivers once`).toBe(all.length);
  }
  return byKey;
}
