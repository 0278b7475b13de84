import ipaddr from 'ipaddr.js';
import type { Connection } from '../store/connections.ts';
import type { CounterStore } from '../store/counters.ts';
import type { Keyring } from '../store/keyring.ts';

const MINUTE_MS = 60_000;
/** Wrong passwords or codes of one account from one address; Auth0's brute-force protection blocks after as many. */
const FAILURES_PER_ACCOUNT = 10;
const ACCOUNT_WINDOW_MS = 60 * MINUTE_MS;
/** Failed logins from one address, whatever account; Auth0's suspicious IP throttling begins at as many a day. */
const FAILURES_PER_ADDRESS = 100;
const ADDRESS_WINDOW_MS = 24 * 60 * MINUTE_MS;
/** Messages that anybody can have sent to one recipient. */
const MESSAGES_PER_RECIPIENT = 20;
const RECIPIENT_WINDOW_MS = 60 * MINUTE_MS;

/** Who tries to log in: the account as it was named, whether or not it exists, and the address of the request. */
export interface Attempt {
  connection: Connection;
  /** In lower case. */
  account: string;
  ip: string;
}

/**
 * Protection against guessing. Counts go by what was named, so that they tell nothing of what exists. A block ends by
 * itself, an hour or a day after its first failure.
 */
export interface AttackProtection {
  /**
   * To be asked before a password or code is looked at: it counts as a failure until `succeeded` says otherwise, so that
   * guesses at the same moment do not all slip through.
   */
  isBlocked(attempt: Attempt): Promise<boolean>;
  failed(attempt: Attempt): Promise<void>;
  succeeded(attempt: Attempt): Promise<void>;
  /** Counts a message to somebody. @returns false when there were too many. */
  mayWriteTo(connection: Pick<Connection, 'id'>, recipient: string): Promise<boolean>;
}

export function createAttackProtection({ counters, keyring }: { counters: CounterStore; keyring: Keyring }): AttackProtection {
  const keyOf = (kind: string, ...parts: string[]): string => `${kind}/${keyring.mac(`counter/${kind}`, JSON.stringify(parts))}`;
  const ofAccount = ({ connection, account, ip }: Attempt) => keyOf('login', connection.id, account, networkOf(ip));
  const ofAddress = ({ ip }: Attempt) => keyOf('failed-logins', networkOf(ip));

  return {
    async isBlocked(attempt) {
      const fromAddress = await counters.read(ofAddress(attempt));
      if (fromAddress !== null && fromAddress.count >= FAILURES_PER_ADDRESS) return true;
      if (attempt.connection.options.brute_force_protection === false) return false;
      return (await counters.increment(ofAccount(attempt), ACCOUNT_WINDOW_MS)).count > FAILURES_PER_ACCOUNT;
    },
    async failed(attempt) {
      await counters.increment(ofAddress(attempt), ADDRESS_WINDOW_MS);
    },
    async succeeded(attempt) {
      await counters.remove(ofAccount(attempt));
    },
    async mayWriteTo(connection, recipient) {
      const { count } = await counters.increment(keyOf('messages', connection.id, recipient), RECIPIENT_WINDOW_MS);
      return count <= MESSAGES_PER_RECIPIENT;
    },
  };
}

/** One subscriber: an IPv4 address, or a /56 network of IPv6, as the rate limits count. */
function networkOf(ip: string): string {
  if (!ipaddr.isValid(ip)) return ip;
  const address = ipaddr.process(ip);
  if (address.kind() === 'ipv4') return address.toString();
  return ipaddr.fromByteArray(address.toByteArray().map((byte, index) => (index < 7 ? byte : 0))).toString();
}
