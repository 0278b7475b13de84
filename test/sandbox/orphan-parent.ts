import { createLogger } from '../../src/logger.ts';
import { createBroker } from '../../src/sandbox/broker.ts';
import { createEgressPolicy } from '../../src/sandbox/egress-policy.ts';
import { findIsolation } from '../../src/sandbox/isolation.ts';
import { placeRunnerFiles } from '../../src/sandbox/runner-files.ts';
import { SandboxProcess } from '../../src/sandbox/sandbox-process.ts';
import { spawnCommand } from '../../src/sandbox/spawn-command.ts';

/**
 * Program of death.crash.test.ts: calls an Action whose handler has the body that is the first argument, prints its
 * process's number, and waits to be killed. `bare` as second argument: without util-linux.
 */
const [body = '', walls] = process.argv.slice(2);
const isolation = walls === 'bare' ? { setpriv: null, prlimit: null, otherUser: false, memoryWatch: false } : findIsolation();
const memory = { heapMiB: 128, residentMiB: 384 };
const runner = await placeRunnerFiles();
const logger = createLogger({ level: 'silent', role: 'test' });
const broker = createBroker(createEgressPolicy({ allow: [], loopbackOpen: false }), () => []).open();
const code = `exports.onExecutePostUserRegistration = async () => { ${body} };`;
const version = { id: 'orphan', actionName: 'Orphan', triggerId: 'post-user-registration' as const, code, dependenciesDir: null };
const command = spawnCommand(isolation, runner, memory, null);
const sandbox = await SandboxProcess.start({ command, version, runnerDir: runner.dir, dependenciesDir: null, trustedCertificates: [], memory, broker, logger });
void sandbox.run({ version, id: '1', event: {}, cache: {}, timeoutMs: 600_000, waitFor: 'handler' }, {});
process.stdout.write(`${sandbox.pid}\n`);
