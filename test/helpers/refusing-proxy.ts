import { once } from 'node:events';
import { connect, constants, createServer, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';

/** A Temporal server with a gatekeeper, as hosted ones have it. */
export interface RefusingProxy {
  address: string;
  /** Paths of the requests that were refused. */
  refused: string[];
  close(): Promise<void>;
}

/** Source: https://grpc.io/docs/guides/status-codes/ */
const PERMISSION_DENIED = '7';

/** Passes gRPC requests on to the server at `target`, except those whose path `refuses` says yes to. */
export async function startRefusingProxy(target: string, refuses: (path: string) => boolean): Promise<RefusingProxy> {
  const refused: string[] = [];
  const upstream = connect(`http://${target}`);
  upstream.on('error', () => undefined);
  const proxy = createServer();
  const sessions = new Set<{ destroy(): void }>();
  proxy.on('session', (session) => sessions.add(session));
  proxy.on('stream', (stream: ServerHttp2Stream, headers) => {
    const path = String(headers[constants.HTTP2_HEADER_PATH]);
    if (refuses(path)) {
      refused.push(path);
      stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': PERMISSION_DENIED, 'grpc-message': 'Request unauthorized.' }, { endStream: true });
      return;
    }
    const onward = upstream.request(headers);
    let trailers = {};
    onward.on('trailers', (received) => (trailers = received));
    onward.on('response', (response, flags) => {
      const ended = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
      stream.respond(response, { endStream: ended, waitForTrailers: !ended });
      if (!ended) onward.pipe(stream);
    });
    stream.on('wantTrailers', () => stream.sendTrailers(trailers));
    for (const one of [stream, onward]) one.on('error', () => undefined);
    stream.on('close', () => onward.close());
    stream.pipe(onward);
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  return {
    address: `127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    refused,
    async close() {
      upstream.destroy();
      for (const session of sessions) session.destroy();
      proxy.close();
      await once(proxy, 'close');
    },
  };
}
