import type { ManagementClient } from '../../examples/management-client.ts';
import type { Received, Receiver } from '../../examples/receiver.ts';

/** What the tests' Actions tell the receiver. */
export interface Delivery {
  action: string;
  email: string;
  key: string;
  attempt: number;
}

/** A delivery as the receiver got it. */
export type ReceivedDelivery = Delivery & Pick<Received, 'at' | 'status' | 'endedAt'>;

/** An Action that tells the receiver who has registered, and fails when that does not answer 2xx. */
export function tellingAction(name: string): string {
  return `exports.onExecutePostUserRegistration = async (event) => {
  const response = await fetch(event.secrets.RECEIVER, {
    method: 'POST',
    body: JSON.stringify({
      action: ${JSON.stringify(name)},
      email: event.user.email,
      key: event.usher.idempotency_key,
      attempt: event.usher.attempt,
    }),
  });
  if (!response.ok) throw new Error('the receiver answered ' + response.status);
};`;
}

/** Deploys a telling Action for each name and binds them in this order. @returns their ids. */
export async function bindTellingActions(management: ManagementClient, receiver: Receiver, names: string[]): Promise<string[]> {
  const ids: string[] = [];
  for (const name of names) ids.push(await deployCode(management, receiver, name, tellingAction(name)));
  await management.bind('post-user-registration', ids);
  return ids;
}

/** Deploys an Action of post-user-registration without dependencies that knows the receiver as `event.secrets.RECEIVER`. */
export async function deployCode(management: ManagementClient, receiver: Receiver, name: string, code: string): Promise<string> {
  return await management.deployAction({
    name,
    triggerId: 'post-user-registration',
    code,
    secrets: [{ name: 'RECEIVER', value: receiver.url }],
  });
}

/** Reads what a telling Action has sent. */
export function parseDelivery(body: string): Delivery {
  return JSON.parse(body) as Delivery;
}

/** Everything that telling Actions have delivered so far, in the order of arrival. */
export function deliveries(receiver: Receiver): ReceivedDelivery[] {
  return receiver.received.map(({ body, at, status, endedAt }) => ({ ...parseDelivery(body), at, status, endedAt }));
}
