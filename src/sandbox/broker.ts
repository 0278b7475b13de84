import { lookup } from 'node:dns/promises';
import net from 'node:net';
import { networkInterfaces } from 'node:os';
import pLimit from 'p-limit';
import { type EgressPolicy, isSameAddress, type OwnAddress } from './egress-policy.ts';
import type { BrokerError, ResolvedAddress } from './runner/messages.ts';

/** Questions of one process that may be open at once; those beyond `MAX_CONNECTING` wait their turn. */
const MAX_PENDING = 1024;
/** Half-open connections of one process: each is a descriptor of this one. */
const MAX_CONNECTING = 32;
/** Name lookups block a thread of Node's pool of four, which hashes passwords and reads files too. */
const MAX_LOOKUPS = 2;

export interface ConnectRequest {
  host: string;
  port: number;
  family: 0 | 4 | 6;
  /** Addresses that the Action looked up itself; the host is then only a name. */
  addresses?: string[];
}

/** Makes the connections of one sandbox process. */
export interface ProcessBroker {
  /** @returns a connected socket that has read nothing. @throws {EgressError} */
  connect(request: number, to: ConnectRequest): Promise<net.Socket>;
  /** The addresses of the name that may be connected to. @throws {EgressError} */
  resolve(request: number, host: string, family: 0 | 4 | 6): Promise<ResolvedAddress[]>;
  /** The process no longer wants the answer. */
  abandon(request: number): void;
  /** Ends what is still connecting. */
  close(): void;
}

export interface Broker {
  open(): ProcessBroker;
}

/** Why a connection was not made, in the shape in which Node tells it. */
export class EgressError extends Error {
  readonly details: BrokerError;

  constructor(details: BrokerError, options?: ErrorOptions) {
    super(details.message, options);
    this.name = 'EgressError';
    this.details = details;
  }
}

/**
 * Resolves a name once, checks each of its addresses and connects to one of those that it checked: neither a redirect
 * nor an answer that changes between two lookups gets round it.
 *
 * @param ownAddresses where Usher itself is reached: open at these ports, whatever the policy says of the addresses.
 */
export function createBroker(policy: EgressPolicy, ownAddresses: () => OwnAddress[]): Broker {
  const lookups = pLimit(MAX_LOOKUPS);

  /** @param port null: the addresses of a name are asked for, and nothing is connected. */
  async function permitted(
    { host, port, family, addresses: named }: Omit<ConnectRequest, 'port'> & { port: number | null },
    syscall: string,
  ): Promise<ResolvedAddress[]> {
    // An address as host goes to that very address, whatever else the process names.
    const found = net.isIP(host) === 0 ? (named ?? (await lookUp(host, family))) : [host];
    const allowed: ResolvedAddress[] = [];
    let refusal: string | undefined;
    for (const address of found) {
      const reason = policy.refusalOf(address);
      if (reason === undefined || (await isOwn(address, port))) allowed.push({ address, family: net.isIP(address) as 4 | 6 });
      else refusal ??= `${address}, ${reason}`;
    }
    if (allowed.length > 0) return allowed;
    throw new EgressError({
      code: 'EUSHEREGRESS',
      syscall,
      hostname: host,
      message: refusal === undefined
        ? `Connecting to ${host} is refused: it has no address.`
        : `Connecting to ${host} (${refusal}) is refused: Actions reach public addresses only. ` +
          'An operator can open a range with USHER_EGRESS_ALLOW, in CIDR notation.',
    });
  }

  /** By our own lookup of our own name: what a process says of that name counts for nothing. */
  async function isOwn(address: string, port: number | null): Promise<boolean> {
    for (const own of ownAddresses()) {
      if (port !== null && port !== own.port) continue;
      if ((await addressesOf(own.host)).some((each) => isSameAddress(each, address))) return true;
    }
    return false;
  }

  async function addressesOf(host: string): Promise<string[]> {
    if (host === '0.0.0.0' || host === '::') {
      const local = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
      return [host, ...local.filter(({ family }) => host === '::' || family === 'IPv4').map(({ address }) => address)];
    }
    if (net.isIP(host) !== 0) return [host];
    // A name of ours that cannot be resolved here opens nothing; the refusal then says why.
    return await lookUp(host, 0).catch(() => []);
  }

  async function lookUp(host: string, family: 0 | 4 | 6): Promise<string[]> {
    try {
      const found = await lookups(() => lookup(host, { all: true, family }));
      return found.map(({ address }) => address);
    } catch (cause) {
      throw toEgressError(cause, 'getaddrinfo');
    }
  }

  return {
    open() {
      const pending = new Map<number, net.Socket | null>();
      // One lookup at a time, so that no Action takes the lookups of all others.
      const turn = pLimit(1);
      const connecting = pLimit(MAX_CONNECTING);

      async function tracked<T>(request: number, work: () => Promise<T>): Promise<T> {
        if (pending.size >= MAX_PENDING) {
          throw new EgressError({ code: 'EUSHEREGRESS', syscall: 'connect', message: `More than ${MAX_PENDING} connections are being made at once: the Action opens too many.` });
        }
        pending.set(request, null);
        try {
          return await work();
        } finally {
          pending.delete(request);
        }
      }

      function abandon(request: number): void {
        pending.get(request)?.destroy(abandoned());
        pending.delete(request);
      }

      return {
        connect: (request, to) =>
          tracked(request, async () => {
            const addresses = await turn(() => permitted(to, 'connect'));
            return await connecting(() => {
              if (!pending.has(request)) throw abandoned();
              return connectTo(addresses, to, (socket) => pending.set(request, socket));
            });
          }),
        resolve: (request, host, family) => tracked(request, () => turn(() => permitted({ host, port: null, family }, 'getaddrinfo'))),
        abandon,
        close: () => [...pending.keys()].forEach(abandon),
      };
    },
  };
}

/** Node's own choice among several addresses (RFC 8305), fed with nothing but the checked ones. */
function connectTo(addresses: ResolvedAddress[], to: ConnectRequest, opened: (socket: net.Socket) => void): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({
      host: to.host,
      port: to.port,
      noDelay: true,
      autoSelectFamily: true,
      lookup: (_host, options, callback) => {
        const first = addresses[0];
        if (options.all === true || first === undefined) callback(null, addresses);
        else callback(null, first.address, first.family);
      },
    });
    // What the receiver sends first is the sandbox's to read.
    socket.pause();
    opened(socket);
    socket.once('error', (error) => reject(toEgressError(error, 'connect')));
    socket.once('connect', () => {
      socket.removeAllListeners('error');
      socket.on('error', () => socket.destroy());
      resolve(socket);
    });
  });
}

function abandoned(): EgressError {
  return new EgressError({ code: 'ECONNABORTED', syscall: 'connect', message: 'connect ECONNABORTED' });
}

function toEgressError(error: unknown, syscall: string): EgressError {
  if (error instanceof EgressError) return error;
  const first = error instanceof AggregateError ? (error.errors[0] as NodeJS.ErrnoException) : (error as NodeJS.ErrnoException);
  const { message, code, hostname, address, port } = first as NodeJS.ErrnoException & { hostname?: string; address?: string; port?: number };
  return new EgressError(
    {
      message,
      code: code ?? 'ECONNFAILED',
      syscall,
      ...(hostname === undefined ? {} : { hostname }),
      ...(address === undefined ? {} : { address }),
      ...(port === undefined ? {} : { port }),
    },
    { cause: error },
  );
}
