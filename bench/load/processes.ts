import { readdir, readFile } from 'node:fs/promises';

/** The processes that the supervisor has started for its roles. Linux only: reads `/proc`. */
export async function rolePids(supervisor: number): Promise<{ api: number; worker: number }> {
  const found: Record<string, number> = {};
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  await Promise.all(pids.map(async (pid) => {
    // It may have ended since.
    const [status = '', command = ''] = await Promise.all(['status', 'cmdline'].map((file) => readFile(`/proc/${pid}/${file}`, 'utf8'))).catch(() => []);
    const [, parent] = /^PPid:\t(\d+)$/m.exec(status) ?? [];
    // A NUL character stands after each argument.
    const [, role] = /\0--role\0(\w+)\0/.exec(command) ?? [];
    if (role !== undefined && Number(parent) === supervisor) found[role] = Number(pid);
  }));
  const { api, worker } = found;
  if (api === undefined || worker === undefined) throw new Error('The processes of the Usher under test were not found in /proc.');
  return { api, worker };
}
