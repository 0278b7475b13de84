/** An e-mail address or a phone number in it, as identity providers have them in their ids; also percent-encoded. */
const ADDRESS = /[@+%\s]/;

/**
 * A user id as it may stand where nothing is encrypted and nothing is deleted by us: the log, Temporal's search attributes
 * and summaries. One that holds an address is replaced by a name that is the same for the same user.
 *
 * @param mac a keyed hash in hex: without the key nobody can try addresses out.
 */
export function shownUserId(userId: string, mac: (userId: string) => string): string {
  return ADDRESS.test(userId) ? `hidden-${mac(userId).slice(0, 16)}` : userId;
}

/** `shownUserId` with the key of the store: everywhere the same name for the same user. */
export function createShownUserId({ mac }: { mac(context: string, value: string): string }): (userId: string) => string {
  return (userId) => shownUserId(userId, (id) => mac('user id in Temporal', id));
}

/** A path as it may stand in a log: without the segments that hold an address or a key. */
export function shownPath(path: string): string {
  return path.replace(/^(\/+usher\/+codec\/+)(?!decode$)[^/]+/, '$1…').split('/').map((part) => (ADDRESS.test(part) ? '…' : part)).join('/');
}
