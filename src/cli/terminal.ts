import { relative } from 'node:path';
import { styleText } from 'node:util';

/** Lines for people. `styleText` leaves colours out where the output is no terminal or `NO_COLOR` is set. */
export type Style = Parameters<typeof styleText>[0];

/** Where a command writes. */
export interface Terminal {
  /** One line of the result, on standard output. */
  say(line: string): void;
  /** One line about the work itself, on standard error. */
  progress(line: string): void;
  style(style: Style, text: string): string;
}

/** The terminal of this process. */
export function createTerminal(): Terminal {
  return {
    say: (line) => void process.stdout.write(`${line}\n`),
    progress: (line) => void process.stderr.write(`${styleText('dim', line, { stream: process.stderr })}\n`),
    style: (style, text) => styleText(style, text, { stream: process.stdout }),
  };
}

/** A path as people like to read it: from the working folder, if it lies in there. */
export function shownPath(path: string, workingDir: string): string {
  const shown = relative(workingDir, path);
  return shown.startsWith('..') ? path : shown;
}

/** What a command is given of the process that it runs in. */
export interface CommandContext {
  terminal: Terminal;
  workingDir: string;
  /** Where things live that outlast a run. */
  cacheDir: string;
  /** CIDRs of private networks that Actions may connect to. */
  egressAllow: string[];
  /** Authorities in PEM that Actions trust beside the usual ones. */
  trusted: string[];
  /** Aborted when somebody wants it to end. */
  signal: AbortSignal;
}

/** A command cannot do what it was asked for: the message says why, and what to do. Exit code 2. */
export class CommandError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CommandError';
  }
}
