import { createLogger } from '../../src/logger.ts';
import { createSandboxPool } from '../../src/sandbox/pool.ts';

/** Program of death.crash.test.ts: runs two Actions without end, prints their processes' numbers, and waits to be killed. */
const logger = createLogger({ level: 'silent', role: 'test' });
const pool = await createSandboxPool({ slots: 2, egress: { allow: [], loopbackOpen: true }, logger });
for (const body of ['for (;;);', 'await new Promise((done) => setTimeout(done, 600000));']) {
  const code = `exports.onExecutePostUserRegistration = async () => { ${body} };`;
  const version = { id: body, actionName: 'Endless', triggerId: 'post-user-registration' as const, code, dependenciesDir: null };
  void pool.run({ version, id: '1', event: {}, cache: {}, timeoutMs: 600_000, waitFor: 'work' });
}
const timer = setInterval(() => {
  if (pool.pids().length < 2) return;
  clearInterval(timer);
  // Both have been called by then: the call follows the start at once.
  setTimeout(() => process.stdout.write(`${JSON.stringify(pool.pids())}\n`), 300);
}, 20);
