import { spawnSync } from 'node:child_process';

/** By its whole path, because the command's own environment may have another PATH. */
const SETPRIV = '/usr/bin/setpriv';

let setprivWorks: boolean | undefined;

/**
 * A command line that starts `command` so that it is killed when this process dies, however it dies. Linux with
 * util-linux only; elsewhere the command line is unchanged, and the next start ends what was left over.
 */
export function dieWithParent(command: string, args: readonly string[]): [command: string, args: string[]] {
  setprivWorks ??= process.platform === 'linux' && spawnSync(SETPRIV, ['--pdeathsig', 'KILL', 'true']).status === 0;
  return setprivWorks ? [SETPRIV, ['--pdeathsig', 'KILL', command, ...args]] : [command, [...args]];
}
