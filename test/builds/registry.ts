import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { create } from 'tar';

/** A package to be published: its `package.json` beyond name and version, its files, and links in it. */
export interface TestPackage {
  manifest?: Record<string, unknown>;
  files?: Record<string, string>;
  links?: Record<string, string>;
}

/** A small npm registry on loopback, for packages that nobody should publish. */
export interface TestRegistry {
  url: string;
  requests: string[];
  publish(name: string, version: string, content?: TestPackage): Promise<void>;
  /** Requests about this package get no answer until the returned function is called. */
  hang(name: string): () => void;
  close(): Promise<void>;
}

/** @param tls - its certificate and key: then it speaks HTTPS. */
export async function startRegistry(tls?: { cert: string | Buffer; key: string | Buffer }): Promise<TestRegistry> {
  const packages = new Map<string, Record<string, object>>();
  const tarballs = new Map<string, Buffer>();
  const hanging = new Map<string, ServerResponse[]>();
  const requests: string[] = [];

  const server = tls === undefined ? createServer(take) : createHttpsServer(tls, take);
  function take(req: IncomingMessage, res: ServerResponse): void {
    const path = decodeURIComponent(req.url ?? '');
    requests.push(path);
    const waiting = hanging.get(path.split('/')[1] ?? '');
    if (waiting === undefined) answer(path, res);
    else waiting.push(res);
  }
  function answer(path: string, res: ServerResponse): void {
    const tarball = tarballs.get(path);
    const versions = packages.get(path.slice(1));
    if (tarball !== undefined) res.end(tarball);
    else if (versions === undefined) res.writeHead(404).end('{}');
    else res.setHeader('content-type', 'application/json').end(JSON.stringify({ name: path.slice(1), 'dist-tags': { latest: Object.keys(versions).at(-1) }, versions }));
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${(server.address() as AddressInfo).port}`;

  return {
    url,
    requests,
    async publish(name, version, { manifest = {}, files = {}, links = {} } = {}) {
      const dir = await mkdtemp(join(tmpdir(), 'usher-package-'));
      const full = { name, version, main: 'index.js', ...manifest };
      for (const [path, content] of Object.entries({ 'index.js': `module.exports = ${JSON.stringify(`${name}@${version}`)};`, ...files, 'package.json': JSON.stringify(full) })) {
        await mkdir(dirname(join(dir, 'package', path)), { recursive: true });
        await writeFile(join(dir, 'package', path), content);
      }
      for (const [path, target] of Object.entries(links)) await symlink(target, join(dir, 'package', path));
      await create({ cwd: dir, file: join(dir, 'package.tgz'), gzip: true }, ['package']);
      const tarball = await readFile(join(dir, 'package.tgz'));
      await rm(dir, { recursive: true });
      const path = `/${name}/-/${name}-${version}.tgz`;
      tarballs.set(path, tarball);
      const scripts = 'scripts' in manifest;
      const dist = { tarball: url + path, integrity: `sha512-${createHash('sha512').update(tarball).digest('base64')}` };
      packages.set(name, { ...packages.get(name), [version]: { ...full, ...(scripts ? { hasInstallScript: true } : {}), dist } });
    },
    hang(name) {
      hanging.set(name, []);
      return () => {
        const waiting = hanging.get(name) ?? [];
        hanging.delete(name);
        for (const res of waiting) answer(decodeURIComponent(res.req.url ?? ''), res);
      };
    },
    close: () => new Promise((resolve) => {
      server.closeAllConnections();
      server.close(() => resolve());
    }),
  };
}
