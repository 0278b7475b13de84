import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { DEFAULT_OPS_PORT } from '../config.ts';
import { type Readiness, readinessAnswer } from '../http/health-routes.ts';
import type { Logger } from '../logger.ts';
import { bind, originOf } from './listen.ts';

/** The listener of a role for those who operate it: `/healthz`, `/readyz` and `/metrics`. */
export interface OpsServer {
  /** Its origin: `http://127.0.0.1:9464`. */
  address: string;
  close(): Promise<void>;
}

/** The text format that Prometheus reads. */
const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/**
 * Opens it. Apart from the API's port: metrics tell things that are nobody's business, and a worker has no API.
 *
 * @param options.port null: 9464, or the next free one.
 * @param options.metrics answers the text of all metrics.
 * @throws {StartError} when it cannot listen there.
 */
export async function startOpsServer(options: {
  port: number | null;
  host: string;
  readiness: () => Promise<Readiness>;
  metrics: () => Promise<string>;
  logger: Logger;
}): Promise<OpsServer> {
  async function answer(path: string, res: ServerResponse): Promise<void> {
    if (path === '/healthz') return send(res, 200, { status: 'ok' });
    if (path === '/readyz') {
      const { status, body } = readinessAnswer(await options.readiness());
      return send(res, status, body);
    }
    if (path !== '/metrics') return send(res, 404, { message: 'There is /healthz, /readyz and /metrics.' });
    const text = await options.metrics();
    res.writeHead(200, { 'content-type': METRICS_TYPE }).end(text);
  }

  const server = createServer((req, res) => {
    if (req.method !== 'GET' && req.method !== 'HEAD') return send(res, 405, { message: 'Use GET.' });
    const [path = ''] = (req.url ?? '').split('?');
    answer(path, res).catch((error: unknown) => {
      options.logger.error({ err: error, path }, 'a question about the process could not be answered');
      if (!res.headersSent) send(res, 500, { message: 'See the log.' });
    });
  });
  const port = await bind(server, { ...options, defaultPort: DEFAULT_OPS_PORT, portVariable: 'USHER_OPS_PORT', hostVariable: 'USHER_OPS_HOST' });
  return {
    address: originOf('http', options.host, port),
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function send(res: ServerResponse, status: number, body: unknown): void {
  res.writeHead(status, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(body));
}
