import { AsyncResource } from 'node:async_hooks';
import dns from 'node:dns';
import net from 'node:net';
import tls from 'node:tls';
import type { BrokerClient, Pending } from './broker-client.ts';

/** What Node keeps in a socket beside its public face, in Node 26. */
interface SocketInternals {
  _handle: Handle | null;
  _sockname: unknown;
  _host: string | null;
  connecting: boolean;
  _undestroy(): void;
  _unrefTimer(): void;
}

interface Handle {
  reading: boolean;
  onread: (this: Handle, ...args: unknown[]) => unknown;
  readStop(): number;
  getAsyncId(): number;
  close(): void;
  unref(): void;
  setNoDelay(on: boolean): number;
  setKeepAlive(on: boolean, seconds: number): number;
  [key: symbol]: unknown;
}

type Lookup = (host: string, options: { all: boolean; family: number }, callback: (error: Error | null, found: unknown) => void) => void;

interface ConnectOptions {
  host?: string;
  port?: number | string;
  path?: string | null;
  family?: number | string;
  lookup?: Lookup;
}

/** Stays below the number of open files that the kernel allows the process, which would lose sockets on the way. */
const MAX_OPEN = 256;

const TLS_MIRRORED = ['remoteAddress', 'remotePort', 'remoteFamily', 'localAddress', 'localPort'] as const;

/**
 * Lets every socket of the process be connected by the broker. The process itself has no network: whatever gets round
 * this meets Node's permission model.
 *
 * `net.Socket.prototype.connect` asks the broker, puts the handle that it sends under the waiting socket and goes on
 * as Node does. `tls.connect` without a socket opens such a socket first. Unix sockets are refused.
 */
export function routeConnections(broker: BrokerClient): void {
  const pendings = new WeakMap<net.Socket, Pending>();
  let open = 0;
  const ref = methodOf('ref');
  const unref = methodOf('unref');

  net.Socket.prototype.connect = function (this: net.Socket, ...args: unknown[]): net.Socket {
    const [options, callback] = normalize(args);
    if (callback !== null) this.once('connect', callback);
    connect(this, options);
    return this;
  };
  // A socket without a handle would otherwise wait with both until it is connected.
  net.Socket.prototype.ref = function (this: net.Socket): net.Socket {
    pendings.get(this)?.hold(true);
    return pendings.has(this) ? this : ref(this);
  };
  net.Socket.prototype.unref = function (this: net.Socket): net.Socket {
    pendings.get(this)?.hold(false);
    return pendings.has(this) ? this : unref(this);
  };

  function connect(socket: net.Socket, options: ConnectOptions): void {
    const internals = socket as unknown as SocketInternals;
    if (socket.destroyed) internals._undestroy();
    internals.connecting = true;
    const refusal = refusalOf(socket, options, open);
    if (refusal !== undefined) {
      process.nextTick(() => socket.destroy(refusal));
      return;
    }
    const host = options.host === undefined || options.host === '' ? 'localhost' : options.host;
    const port = portOf(options);
    internals._host = host;
    internals._unrefTimer();
    open++;
    socket.once('close', () => {
      open--;
      pendings.get(socket)?.abandon();
      pendings.delete(socket);
    });
    const scope = new AsyncResource('USHERCONNECT');
    const ask = (addresses?: string[]): void => {
      const to = { host, port, family: familyOf(options.family), ...(addresses === undefined ? {} : { addresses }) };
      const pending = broker.connect(to, (error, carrier, via) => {
        const isHeld = pending.isHeld();
        pendings.delete(socket);
        scope.runInAsyncScope(() => {
          if (carrier === undefined) {
            socket.destroy(error);
          } else {
            socket.emit('lookup', null, via?.address, via?.family, host);
            attach(socket, carrier, scope, isHeld);
          }
        });
      });
      pendings.set(socket, pending);
    };
    if (options.lookup === undefined || options.lookup === (dns.lookup as unknown) || net.isIP(host) !== 0) ask();
    else askOwnLookup(socket, host, options, options.lookup, ask);
  }

  const connectTls = tls.connect as (options: tls.ConnectionOptions, callback?: () => void) => tls.TLSSocket;
  tls.connect = (...args: unknown[]): tls.TLSSocket => {
    const [options, callback] = normalizeTls(args);
    if (options.socket !== undefined && options.socket !== null) return connectTls(options, callback);
    const transport = new net.Socket();
    connect(transport, options as ConnectOptions);
    const socket = connectTls({ ...options, socket: transport }, callback);
    if (options.timeout !== undefined && options.timeout !== 0) socket.setTimeout(options.timeout);
    mirror(socket, transport);
    return socket;
  };
}

/** Node's own method, to be called when it is no longer reachable by its name. */
function methodOf(name: 'ref' | 'unref'): (socket: net.Socket) => net.Socket {
  const method = net.Socket.prototype[name];
  return (socket) => Reflect.apply(method, socket, []);
}

/** TLS runs over a stream here and knows nothing of the transport's address, nor of its hold on the event loop. */
function mirror(socket: tls.TLSSocket, transport: net.Socket): void {
  for (const name of TLS_MIRRORED) Object.defineProperty(socket, name, { get: () => transport[name], configurable: true });
  socket.ref = () => (transport.ref(), socket);
  socket.unref = () => (transport.unref(), socket);
}

function refusalOf(socket: net.Socket, options: ConnectOptions, open: number): Error | undefined {
  if (open >= MAX_OPEN) return refused(`The Action holds ${MAX_OPEN} connections open and may not open more: reuse or close them.`);
  if (options.path !== undefined && options.path !== null && options.path !== '') {
    return refused(`Connecting to the Unix socket ${options.path} is refused: an Action can only connect to hosts.`);
  }
  if (socket instanceof tls.TLSSocket) {
    return refused('Connecting a TLSSocket by itself is not supported in an Action: use tls.connect.');
  }
  return undefined;
}

function refused(message: string): Error {
  return Object.assign(new Error(message), { code: 'EUSHEREGRESS', syscall: 'connect' });
}

/** A lookup of the caller's own is obeyed; the broker checks the addresses that it names. */
function askOwnLookup(socket: net.Socket, host: string, options: ConnectOptions, lookup: Lookup, ask: (addresses: string[]) => void): void {
  lookup(host, { all: true, family: familyOf(options.family) }, (error, found) => {
    if (socket.destroyed || !socket.connecting) return;
    if (error !== null && error !== undefined) {
      socket.destroy(error);
      return;
    }
    ask(Array.isArray(found) ? found.map((entry: { address: string }) => entry.address) : [String(found)]);
  });
}

/** Puts the carrier's handle under the socket and goes on as Node's own `afterConnect` does. */
function attach(socket: net.Socket, carrier: net.Socket, scope: AsyncResource, isHeld: boolean): void {
  const internals = socket as unknown as SocketInternals;
  const source = carrier as unknown as SocketInternals;
  const handle = source._handle;
  source._handle = null;
  if (handle === null) {
    socket.destroy(new Error('The socket that the broker sent was closed on the way.'));
    return;
  }
  if (socket.destroyed || !socket.connecting) {
    handle.close();
    return;
  }
  handle.reading = false;
  handle.readStop();
  const onread = handle.onread;
  // The handle was made outside the caller's async context; its events belong inside.
  handle.onread = function (this: Handle, ...args: unknown[]) {
    return scope.runInAsyncScope(onread, this, ...args);
  };
  handle[symbolOf(handle, 'owner_symbol')] = socket;
  internals._handle = handle;
  internals._sockname = null;
  internals.connecting = false;
  setOptions(socket, handle);
  if (!isHeld) handle.unref();
  internals._unrefTimer();
  socket.emit('connect');
  socket.emit('ready');
  if (!socket.destroyed && !socket.isPaused()) socket.read(0);
}

/** The broker has set TCP_NODELAY; keep-alive is the caller's wish, kept in the socket until there is a handle. */
function setOptions(socket: net.Socket, handle: Handle): void {
  const state = socket as unknown as Record<symbol, unknown>;
  state[symbolOf(socket, 'async_id_symbol')] = handle.getAsyncId();
  if (state[symbolOf(socket, 'kSetKeepAlive')] === true) {
    handle.setKeepAlive(true, Number(state[symbolOf(socket, 'kSetKeepAliveInitialDelay')]) || 0);
  }
}

/** @throws when Node's internals have changed: better a clear failure of every connection than a silent one. */
function symbolOf(object: object, description: string): symbol {
  const found = Object.getOwnPropertySymbols(object).find((symbol) => symbol.description === description);
  if (found === undefined) throw new Error(`Node ${process.version} has no ${description} here: Usher's sandbox needs Node 26.`);
  return found;
}

function normalize(args: unknown[]): [ConnectOptions, (() => void) | null] {
  const given = Array.isArray(args[0]) ? args[0] : (net as unknown as { _normalizeArgs(args: unknown[]): unknown[] })._normalizeArgs(args);
  return [given[0] as ConnectOptions, (given[1] ?? null) as (() => void) | null];
}

/** `tls.connect(options[, cb])`, `(port[, host][, options][, cb])`, `(path[, options][, cb])`. */
function normalizeTls(args: unknown[]): [tls.ConnectionOptions, (() => void) | undefined] {
  const [options, callback] = normalize(args);
  const more = args.slice(1).find((arg) => typeof arg === 'object' && arg !== null);
  return [{ ...options, ...more } as tls.ConnectionOptions, callback ?? undefined];
}

function portOf({ port }: ConnectOptions): number {
  const value = Number(port);
  if (Number.isInteger(value) && value >= 0 && value <= 65535 && port !== '') return value;
  const error = new RangeError(`Port should be >= 0 and < 65536. Received ${String(port)}.`);
  throw Object.assign(error, { code: 'ERR_SOCKET_BAD_PORT' });
}

export function familyOf(family: unknown): 0 | 4 | 6 {
  if (family === 4 || family === 'IPv4') return 4;
  return family === 6 || family === 'IPv6' ? 6 : 0;
}
