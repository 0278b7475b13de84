import { access, readFile } from 'node:fs/promises';
import { createManagementClient, type ManagementClient } from './management-client.ts';
import { type Receiver, startReceiver } from './receiver.ts';
import { type OwnUsher, readRunning, startUsher } from './start-usher.ts';
import { showRegistrations, type Shown } from './demo-screen.ts';

/**
 * `npm run demo`: the three Actions of Auth0's page on the trigger, run for some sign-ups against a receiver that fails
 * now and then, shown as it happens. Uses the Usher of this folder when one runs, else one of its own.
 */

const SIGN_UPS = 6;
/** Of the pre-user-registration Action's list. */
const BAD_JA4 = 't13d1517h2_8daaf6152771_b6f405a00624';
const PATIENCE_MS = 10 * 60_000;
const POLL_MS = 300;

type Usher = Pick<OwnUsher, 'api' | 'webUi' | 'clientId' | 'clientSecret'> & { own: OwnUsher | null };

interface Execution {
  usher: {
    state: string;
    outcome: string | null;
    steps: { action_name: string; version_number: number; state: string; next_attempt_at: string | null; attempts: { number: number; outcome: string; calls: { status?: number; error?: string }[] }[] }[];
  };
}

async function main(): Promise<void> {
  const usher = await findOrStart();
  const undo: (() => Promise<unknown>)[] = [];
  process.once('SIGINT', () => void cleanUp(usher, undo).then(() => process.exit(130)));
  try {
    await run(usher, undo);
  } finally {
    await cleanUp(usher, undo);
  }
}

async function run(usher: Usher, undo: (() => Promise<unknown>)[]): Promise<void> {
  const receiver = await startReceiver(({ nth }) => (nth === 1 || Math.random() < 0.3 ? { status: 500, body: 'not now' } : { status: 200 }));
  undo.push(() => receiver.close());
  say(`A receiver listens on ${receiver.url}; it answers about a third of the requests with 500.`);

  const management = await createManagementClient(usher);
  await bindActions(management, receiver, undo);
  await tellAboutTemporal(usher.api);

  const shown: Shown[] = [];
  const run = Math.random().toString(36).slice(2, 8);
  for (let i = 1; i <= SIGN_UPS; i++) {
    const email = `demo-${run}-${i}@example.com`;
    const denied = usher.own !== null && i === SIGN_UPS;
    const { ms, status, body } = await signUp(usher.api, email, denied ? { 'x-ja4': BAD_JA4 } : {});
    shown.push({ email, answer: `${status} in ${ms} ms${status === 200 ? '' : ` (${(body as { error_description?: string }).error_description})`}`, link: null, done: status !== 200, steps: [] });
    if (status === 200) {
      const id = await executionOf(management, email);
      shown.at(-1)!.link = `${usher.webUi}/namespaces/default/workflows/${encodeURIComponent(`user-registration/${id}`)}`;
      shown.at(-1)!.executionId = id;
    }
  }

  const screen = showRegistrations(shown);
  const giveUpAt = performance.now() + PATIENCE_MS;
  while (shown.some((each) => !each.done) && performance.now() < giveUpAt) {
    for (const each of shown) if (!each.done) await look(management, each);
    screen.update();
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  screen.end();
  const unfinished = shown.filter((each) => !each.done).length;
  say(unfinished === 0
    ? `All registrations are at their end. The receiver got ${receiver.received.length} requests, ${receiver.received.filter((each) => each.status === 500).length} of which it refused.`
    : `${unfinished} registrations are still being retried; the demo ends here.`);
}

/** The Usher of this folder, or one that lives as long as the demo. */
async function findOrStart(): Promise<Usher> {
  const dataDir = process.env['USHER_DATA_DIR'] || '.usher';
  try {
    const running = await readRunning(dataDir);
    await fetch(`${running.api}/healthz`, { signal: AbortSignal.timeout(2000) });
    await access(running.clientSecretFile);
    say(`Usher runs at ${running.api}; the demo uses it.`);
    return { ...running, webUi: running.webUi ?? '', clientSecret: (await readFile(running.clientSecretFile, 'utf8')).trim(), own: null };
  } catch {
    say('No Usher runs in this folder; starting one for the demo.');
  }
  const env = { USHER_TRUST_PROXY: '127.0.0.1/32', USHER_JA4_HEADER: 'x-ja4', USHER_LOG_LEVEL: 'error' };
  const own = await startUsher({ env, show: (text) => process.stdout.write(text.replaceAll(/^(?=.)/gm, '  usher | ')) });
  return { ...own, own };
}

/** Deploys the three Actions and puts them behind whatever is bound already. */
async function bindActions(management: ManagementClient, receiver: Receiver, undo: (() => Promise<unknown>)[]): Promise<void> {
  const code = async (name: string): Promise<string> => await readFile(new URL(`actions/${name}.js`, import.meta.url), 'utf8');
  const suffix = Math.random().toString(36).slice(2, 6);
  say('Deploying the three Actions, with their npm packages …');
  const [slack, store, deny] = await Promise.all([
    management.deployAction({
      name: `Notify Slack ${suffix}`,
      triggerId: 'post-user-registration',
      code: await code('notify-slack'),
      dependencies: [{ name: '@slack/webhook', version: 'latest' }],
      secrets: [{ name: 'SLACK_WEBHOOK_URL', value: `${receiver.url}/slack` }],
    }),
    management.deployAction({
      name: `Store the user id ${suffix}`,
      triggerId: 'post-user-registration',
      code: (await code('store-user-id')).replace('https://my-api.exampleco.com', receiver.url),
      dependencies: [{ name: 'axios', version: 'latest' }],
    }),
    management.deployAction({ name: `Deny fingerprints ${suffix}`, triggerId: 'pre-user-registration', code: await code('deny-fingerprints') }),
  ]);
  undo.push(async () => {
    for (const id of [slack, store, deny]) await management.call('DELETE', `/actions/actions/${id}?force=true`);
  });
  for (const [trigger, ids] of [['post-user-registration', [slack, store]], ['pre-user-registration', [deny]]] as const) {
    const { bindings } = await management.call<{ bindings: { id: string }[] }>('GET', `/actions/triggers/${trigger}/bindings?per_page=50`);
    await management.call('PATCH', `/actions/triggers/${trigger}/bindings`, {
      bindings: [
        ...bindings.map(({ id }) => ({ ref: { type: 'binding_id', value: id } })),
        ...ids.map((value) => ({ ref: { type: 'action_id', value } })),
      ],
    });
  }
}

async function tellAboutTemporal(api: string): Promise<void> {
  const { degraded } = (await (await fetch(`${api}/readyz`)).json()) as { degraded: Record<string, string> };
  if (degraded['temporal'] !== undefined) say(`Temporal is not there yet (${degraded['temporal']}); sign-ups flow already, and their Actions run as soon as it is.`);
}

async function signUp(api: string, email: string, headers: Record<string, string>): Promise<{ ms: number; status: number; body: unknown }> {
  const startedAt = performance.now();
  const response = await fetch(`${api}/dbconnections/signup`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ connection: 'Username-Password-Authentication', email, password: 'Correct-Horse-7' }),
  });
  return { body: await response.json(), status: response.status, ms: Math.round(performance.now() - startedAt) };
}

/** The registration's execution, from the tenant log, where Auth0 puts it too. */
async function executionOf(management: ManagementClient, email: string): Promise<string> {
  const logs = await management.call<{ user_name?: string; details?: { actions?: { executions?: string[] } } }[]>('GET', '/logs?per_page=20');
  const id = logs.find((log) => log.user_name === email)?.details?.actions?.executions?.at(-1);
  if (id === undefined) throw new Error(`The log has no execution for the sign-up of ${email}.`);
  return id;
}

async function look(management: ManagementClient, shown: Shown): Promise<void> {
  const { usher } = await management.call<Execution>('GET', `/actions/executions/${shown.executionId}`);
  shown.done = usher.state === 'closed';
  shown.steps = usher.steps.map((step) => {
    const last = step.attempts.at(-1);
    const failed = last?.calls.findLast((call) => call.error !== undefined || (call.status ?? 0) >= 400);
    return {
      name: `${step.action_name} v${step.version_number}`,
      state: last?.outcome === 'running' ? 'running' : step.state,
      attempts: step.attempts.length,
      note: failed === undefined ? '' : failed.error ?? `receiver answered ${failed.status}`,
      nextAt: step.next_attempt_at,
    };
  });
}

async function cleanUp(usher: Usher, undo: (() => Promise<unknown>)[]): Promise<void> {
  for (const step of undo.splice(0).toReversed()) await step();
  await usher.own?.stop();
  say(usher.own === null ? 'The Actions of the demo are deleted; its users stay.' : 'Everything that the demo made is deleted.');
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

await main();
