import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';

/** How far above the preferred port a free one is looked for. */
const PORTS_TRIED = 100;

/**
 * The first free port from `preferred` on. Another process may still take it before it is used.
 *
 * @throws when a hundred ports in a row are taken.
 */
export async function nextFreePort(preferred: number, host = '127.0.0.1'): Promise<number> {
  const last = Math.min(preferred + PORTS_TRIED - 1, 65_535);
  for (let port = preferred; port <= last; port++) if (await isPortFree(port, host)) return port;
  throw new Error(`No port from ${preferred} to ${last} is free on ${host}: end what listens there.`);
}

/** A port on loopback that was free a moment ago, chosen by the system. Another process may still take it before it is used. */
export async function anyFreePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** True when nothing listens on this port and we may. */
export function isPortFree(port: number, host = '127.0.0.1'): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE' || error.code === 'EACCES') resolve(false);
      else reject(error);
    });
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
