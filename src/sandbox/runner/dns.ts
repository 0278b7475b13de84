import dns from 'node:dns';
import net from 'node:net';
import { promisify } from 'node:util';
import type { BrokerClient } from './broker-client.ts';
import type { ResolvedAddress } from './messages.ts';
import { familyOf } from './network.ts';

interface LookupOptions {
  family?: number | string;
  all?: boolean;
}

type LookupCallback = (error: Error | null, address?: string | ResolvedAddress[], family?: number) => void;

/** `dns.lookup` by the broker, which names only addresses that it would connect to; every other query is refused. */
export function routeLookups(broker: BrokerClient): void {
  const lookup = (host: string, ...rest: unknown[]): void => {
    const callback = rest.at(-1) as LookupCallback;
    if (typeof callback !== 'function') throw new TypeError('dns.lookup needs a callback.');
    const given = rest.length > 1 ? rest[0] : {};
    const options: LookupOptions = typeof given === 'object' && given !== null ? given : { family: given as number };
    find(host, options, (error, addresses) => {
      if (error !== undefined) callback(error);
      else if (options.all === true) callback(null, addresses);
      else callback(null, addresses[0]?.address, addresses[0]?.family);
    });
  };

  function find(host: string, options: LookupOptions, done: (error: Error | undefined, addresses: ResolvedAddress[]) => void): void {
    const literal = net.isIP(host);
    if (literal !== 0) process.nextTick(done, undefined, [{ address: host, family: literal as 4 | 6 }]);
    else broker.resolve(host, familyOf(options.family), done);
  }

  const lookupPromise = (host: string, options: LookupOptions | number = {}): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const wanted = typeof options === 'number' ? { family: options } : options;
      find(host, wanted, (error, addresses) => {
        if (error !== undefined) reject(error);
        else resolve(wanted.all === true ? addresses : addresses[0]);
      });
    });
  Object.defineProperty(lookup, promisify.custom, { value: lookupPromise });

  Object.assign(dns, { lookup });
  Object.assign(dns.promises, { lookup: lookupPromise });
  refuseQueries(dns, callbackRefusal);
  refuseQueries(dns.promises, promiseRefusal);
  refuseQueries(dns.Resolver.prototype, callbackRefusal);
  refuseQueries(dns.promises.Resolver.prototype, promiseRefusal);
}

function refuseQueries(target: object, refuse: (name: string) => unknown): void {
  for (const name of Object.getOwnPropertyNames(target)) {
    if (/^(resolve|reverse|lookupService)/.test(name)) Object.defineProperty(target, name, { value: refuse(name), configurable: true, writable: true });
  }
}

function refusal(name: string): Error {
  const message = `dns.${name} is not available in an Action: use dns.lookup, or connect to the host by its name.`;
  return Object.assign(new Error(message), { code: 'EUSHEREGRESS', syscall: name });
}

function callbackRefusal(name: string) {
  return (...args: unknown[]): void => {
    const callback = args.at(-1);
    if (typeof callback !== 'function') throw refusal(name);
    process.nextTick(callback, refusal(name));
  };
}

function promiseRefusal(name: string) {
  return (): Promise<never> => Promise.reject(refusal(name));
}
