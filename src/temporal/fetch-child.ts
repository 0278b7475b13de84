import { spawn } from 'node:child_process';
import { dieWithParent } from './die-with-parent.ts';

export interface FetchCommand {
  command: string;
  args: string[];
  env: NodeJS.ProcessEnv;
  cwd: string;
  /** Each line of its standard error, as it comes. */
  onErrorLine?: ((line: string) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/** Lines of standard error kept for the message of a failure. */
const LINES_KEPT = 5;

/**
 * Runs a command that fetches or builds something, together with all that it starts; all of it ends on `signal`.
 *
 * @throws with the last lines of its standard error when it fails or is ended.
 */
export async function runToEnd({ command, args, env, cwd, onErrorLine, signal }: FetchCommand): Promise<void> {
  signal?.throwIfAborted();
  const [file, argv] = dieWithParent(command, args);
  // A group of its own, so that a compiler's children end with it.
  const child = spawn(file, argv, { env, cwd, stdio: ['ignore', 'ignore', 'pipe'], detached: true });
  const lines: string[] = [];
  let rest = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    const parts = (rest + chunk).split('\n');
    rest = parts.pop() ?? '';
    for (const line of parts) {
      lines.push(line);
      if (lines.length > LINES_KEPT) lines.shift();
      onErrorLine?.(line);
    }
  });
  const abort = () => killGroup(child.pid);
  signal?.addEventListener('abort', abort, { once: true });
  try {
    const failure = await new Promise<string | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, killedBy) => {
        if (code === 0) resolve(null);
        else resolve(killedBy === null ? `exit code ${code}` : `ended by ${killedBy}`);
      });
    });
    signal?.throwIfAborted();
    if (failure !== null) throw new Error([...lines, rest].join('\n').trim() || failure);
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
