import os from 'node:os';

const EPERM = -1;

/**
 * Takes away what Node's permission model leaves open: signals to other processes, waking another process's
 * inspector, and other processes' priorities. Where sandboxes share a user with each other, or with Usher itself on a
 * laptop, this is what keeps an Action from ending them.
 */
export function lockDown(): void {
  const raw = process as unknown as Record<string, unknown>;
  const kill = raw['_kill'] as (pid: number, signal: number) => number;
  // Returns a negative errno, as the binding does; process.kill makes the error of it.
  raw['_kill'] = (pid: number, signal: number) => (pid === process.pid ? kill(pid, signal) : EPERM);
  raw['_debugProcess'] = undefined;
  raw['_debugEnd'] = undefined;

  const setPriority = os.setPriority;
  os.setPriority = (pid: number, priority?: number): void => {
    const [target, value] = priority === undefined ? [0, pid] : [pid, priority];
    if (target !== 0 && target !== process.pid) throw new Error('os.setPriority: an Action can only change its own.');
    setPriority(0, value);
  };
}
