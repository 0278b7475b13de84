/** A small client of Usher's Management API, as the demo, the bench and the tests need it. Auth0's own SDK does the same. */
export interface ManagementClient {
  /** Any call of the Management API; `path` begins after `/api/v2`, or with `/usher/`. @throws when the answer is not 2xx. */
  call<T = unknown>(method: string, path: string, body?: unknown): Promise<T>;
  /** Creates an Action, waits until it is built and deploys it. @returns its id. */
  deployAction(action: NewAction): Promise<string>;
  /** Replaces the bindings of a trigger, in order. */
  bind(triggerId: string, actionIds: string[]): Promise<void>;
}

export interface NewAction {
  name: string;
  triggerId: 'pre-user-registration' | 'post-user-registration';
  code: string;
  dependencies?: { name: string; version: string }[];
  secrets?: { name: string; value: string }[];
}

const BUILD_POLL_MS = 200;
const BUILD_PATIENCE_MS = 180_000;

/** Gets a token by client credentials; it lives for a day. */
export async function createManagementClient(usher: { api: string; clientId: string; clientSecret: string }): Promise<ManagementClient> {
  const { access_token: token } = await answer<{ access_token: string }>(
    await fetch(`${usher.api}/oauth/token`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        grant_type: 'client_credentials',
        client_id: usher.clientId,
        client_secret: usher.clientSecret,
        audience: `${usher.api}/api/v2/`,
      }),
    }),
  );

  async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
    return await answer<T>(
      await fetch(`${usher.api}${path.startsWith('/usher/') ? '' : '/api/v2'}${path}`, {
        method,
        headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
    );
  }

  async function built(id: string): Promise<void> {
    const giveUpAt = performance.now() + BUILD_PATIENCE_MS;
    for (;;) {
      const action = await call<{ name: string; status: string }>('GET', `/actions/actions/${id}`);
      if (action.status === 'built') return;
      if (action.status === 'failed') throw new Error(`The build of the Action "${action.name}" failed: ${JSON.stringify(action)}`);
      if (performance.now() > giveUpAt) throw new Error(`The build of the Action "${action.name}" takes too long.`);
      await new Promise((resolve) => setTimeout(resolve, BUILD_POLL_MS));
    }
  }

  return {
    call,
    async deployAction({ name, triggerId, code, dependencies = [], secrets = [] }) {
      const { id } = await call<{ id: string }>('POST', '/actions/actions', {
        name,
        supported_triggers: [{ id: triggerId, version: 'v2' }],
        code,
        dependencies,
        secrets,
      });
      await built(id);
      await call('POST', `/actions/actions/${id}/deploy`);
      return id;
    },
    async bind(triggerId, actionIds) {
      await call('PATCH', `/actions/triggers/${triggerId}/bindings`, {
        bindings: actionIds.map((value) => ({ ref: { type: 'action_id', value } })),
      });
    },
  };
}

async function answer<T>(response: Response): Promise<T> {
  const text = await response.text();
  if (!response.ok) throw new Error(`${response.url} answered ${response.status}: ${text}`);
  return (text === '' ? undefined : JSON.parse(text)) as T;
}
