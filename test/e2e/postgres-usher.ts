import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { createManagementClient, type ManagementClient } from '../../examples/management-client.ts';
import { kill9 } from './processes.ts';
import { spawnUsher, type UsherProcess } from './usher-process.ts';

/** One process of a role, with a data directory of its own, as on a machine of its own. */
export interface RoleOnPostgres extends UsherProcess {
  dataDir: string;
  /** Of an api. */
  address: string;
  /** With SIGTERM; resolves with its exit code. */
  stop(): Promise<number | NodeJS.Signals>;
  kill(): Promise<void>;
}

/** Any number of `api` and `worker` processes on one PostgreSQL and one Temporal server. */
export interface UsherOnPostgres {
  databaseUrl: string;
  /** Resolves when the role is ready. */
  start(role: 'api' | 'worker', env?: Record<string, string>): Promise<RoleOnPostgres>;
  management(api: RoleOnPostgres): Promise<ManagementClient>;
  /** One statement on the store, beside Usher. */
  query<T extends object>(text: string, ...values: unknown[]): Promise<T[]>;
  /** The registrations of users whose e-mail matches the pattern of `like`, oldest first. */
  registrations(emails: string): Promise<RegistrationOnPostgres[]>;
  /** Ends every process and deletes its data directory; the database stays. */
  close(): Promise<void>;
}

export interface RegistrationOnPostgres {
  id: string;
  email: string;
  state: string;
  outcome: string | null;
  steps: { state: string; attempts: { number: number; worker_id: string; outcome: string | null; started_at: number; leased_until: number; ended_at: number | null }[] }[];
}

const CLIENT_ID = 'operator';

/** @param options.env of every process. */
export async function createUsherOnPostgres({ databaseUrl, temporalAddress, env = {} }: {
  databaseUrl: string;
  temporalAddress: string;
  env?: Record<string, string>;
}): Promise<UsherOnPostgres> {
  const folder = await mkdtemp(join(tmpdir(), 'usher-postgres-roles-'));
  // The sandboxes' user passes through.
  await chmod(folder, 0o711);
  const clientSecret = randomBytes(32).toString('hex');
  const common = {
    DATABASE_URL: databaseUrl,
    TEMPORAL_ADDRESS: temporalAddress,
    USHER_MASTER_KEY: randomBytes(32).toString('base64'),
    USHER_CLIENT_ID: CLIENT_ID,
    USHER_CLIENT_SECRET: clientSecret,
    USHER_PORT: '0',
    USHER_RATE_LIMITS: 'off',
    USHER_EGRESS_ALLOW: '127.0.0.0/8',
    ...env,
  };
  const roles: RoleOnPostgres[] = [];

  async function query<T extends object>(text: string, ...values: unknown[]): Promise<T[]> {
    const client = new Client({ connectionString: databaseUrl });
    await client.connect();
    try {
      return (await client.query<T>(text, values)).rows;
    } finally {
      await client.end();
    }
  }

  return {
    databaseUrl,
    query,

    async start(role, own = {}) {
      const dataDir = await mkdtemp(join(folder, `${role}-`));
      const usher = spawnUsher({ args: ['--role', role], env: { ...common, USHER_DATA_DIR: dataDir, ...own } });
      const running: RoleOnPostgres = {
        ...usher,
        dataDir,
        get address() {
          return /"address":"(http[^"]+)".*the role api is ready/.exec(usher.stderr())![1]!;
        },
        async stop() {
          usher.child.kill('SIGTERM');
          return await usher.ended();
        },
        kill: () => kill9(usher.pid),
      };
      roles.push(running);
      await usher.prints(`the role ${role} is ready`);
      return running;
    },

    management: (api) => createManagementClient({ api: api.address, clientId: CLIENT_ID, clientSecret }),

    async registrations(emails) {
      const rows = await query<{ registration: RegistrationOnPostgres }>(`
        select json_build_object('id', r.id, 'email', u.email, 'state', r.state, 'outcome', r.outcome, 'steps', (
          select coalesce(json_agg(json_build_object('state', s.state, 'attempts', (
            select coalesce(json_agg(a order by a.number), '[]') from attempt a where a.step_id = s.id
          )) order by s.position), '[]') from step s where s.registration_id = r.id
        )) as registration
        from registration r join user_account u on u.id = r.user_id where u.email like $1 order by r.id`, emails);
      return rows.map(({ registration }) => registration);
    },

    async close() {
      await Promise.all(roles.map(async ({ child, stop }) => {
        if (child.exitCode === null && child.signalCode === null) await stop();
      }));
      await rm(folder, { recursive: true, force: true });
    },
  };
}
