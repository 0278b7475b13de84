import { syncBuiltinESMExports } from 'node:module';
import tls from 'node:tls';
import { createAttempts } from './attempts.ts';
import { createBrokerClient } from './broker-client.ts';
import { recordCalls } from './calls.ts';
import { captureChannel } from './channel.ts';
import { routeLookups } from './dns.ts';
import { createInvoker, type Invoker } from './invoker.ts';
import { lockDown } from './lockdown.ts';
import { PROTOCOL_VERSION, type VersionMessage } from './messages.ts';
import { routeConnections } from './network.ts';
import { captureOutput } from './output.ts';

/**
 * The sandbox process. Everything here happens before an Action's code is loaded; the parent has started it without a
 * network, environment, files or children of its own.
 */
const channel = captureChannel();
const attempts = createAttempts();
let version: VersionMessage | undefined;
let invoker: Invoker | undefined;

const broker = createBrokerClient(channel, () => invoker?.balance());
const output = captureOutput(attempts, channel, () => version ?? { logBytes: 0, floodBytes: 0 });
lockDown();
recordCalls(attempts, channel);
routeConnections(broker);
routeLookups(broker);
syncBuiltinESMExports();

channel.onMessage((message, handle) => {
  switch (message.type) {
    case 'version':
      version = message;
      // About 10 ms, so only where there are any.
      if (version.trustedCertificates.length > 0) tls.setDefaultCACertificates([...tls.getCACertificates('default'), ...version.trustedCertificates]);
      invoker = createInvoker({ version, attempts, channel, broker, output, runnerUrl: new URL('.', import.meta.url).href });
      break;
    case 'run':
      invoker?.run(message);
      break;
    default:
      broker.onReply(message, handle);
  }
});
channel.send({ type: 'ready', protocol: PROTOCOL_VERSION });
