import { Console } from 'node:console';
import { Writable } from 'node:stream';
import type { LogLevel } from '../../domain/invocation.ts';
import type { Attempts } from './attempts.ts';
import type { Channel } from './channel.ts';
import { FLOOD_EXIT_CODE, LINE_OVERHEAD_BYTES } from './messages.ts';

const LEVELS = ['log', 'info', 'warn', 'error', 'debug', 'trace'] as const;

export interface Output {
  /** Adds a line to the attempt that the running code belongs to. */
  write(level: LogLevel, text: string): void;
}

/**
 * Sends `console.*` and writes to `process.stdout` and `process.stderr` to the parent as log lines, at once, so that
 * they survive a kill. Cuts at `logBytes` an attempt; `floodBytes` ends it.
 */
export function captureOutput(attempts: Attempts, channel: Channel, limits: () => { logBytes: number; floodBytes: number }): Output {
  const now = Date.now;

  function write(level: LogLevel, text: string): void {
    const attempt = attempts.current();
    if (attempt === undefined) return;
    const { token } = attempt;
    const { logBytes, floodBytes } = limits();
    const room = logBytes - attempt.outputBytes;
    attempt.outputBytes += text.length + LINE_OVERHEAD_BYTES;
    if (room > 0) {
      const line = text.slice(0, room);
      attempt.outputBytes += Buffer.byteLength(line) - line.length;
      channel.send({ type: 'log', token, line: { at: now(), level, text: line } });
    }
    if (attempt.outputBytes > logBytes && !attempt.truncated) {
      attempt.truncated = true;
      channel.send({ type: 'truncated', token });
    }
    if (attempt.outputBytes > floodBytes && !attempt.judged) channel.exit(FLOOD_EXIT_CODE);
  }

  captureConsole(write);
  captureStream('stdout', (text) => write('log', text));
  captureStream('stderr', (text) => write('error', text));
  return { write };
}

/** Node's own `Console` does format, groups, tables and timers; only where its lines go is ours. */
function captureConsole(write: Output['write']): void {
  let level: LogLevel | undefined;
  const sink = (otherwise: LogLevel): NodeJS.WritableStream =>
    ({ write: (text: string) => write(level ?? otherwise, withoutNewline(text)) }) as unknown as NodeJS.WritableStream;
  const captured = new Console({ stdout: sink('log'), stderr: sink('error'), ignoreErrors: false });
  for (const name of LEVELS) {
    const method = captured[name].bind(captured);
    captured[name] = (...args: unknown[]) => {
      const outer = level;
      level = name;
      try {
        method(...args);
      } finally {
        level = outer;
      }
    };
  }
  Object.assign(globalThis.console, captured);
}

function captureStream(name: 'stdout' | 'stderr', write: (text: string) => void): void {
  const stream = new Writable({
    decodeStrings: false,
    write(chunk: string | Uint8Array, _encoding, done) {
      write(withoutNewline(typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString()));
      done();
    },
  });
  Object.defineProperty(process, name, { value: stream, configurable: true, enumerable: true });
}

function withoutNewline(text: string): string {
  return text.endsWith('\n') ? text.slice(0, -1) : text;
}
