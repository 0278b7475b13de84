import { inspect } from 'node:util';
import type { ActionError, ActionErrorType } from '../../domain/invocation.ts';
import { retryAfterOf } from './retry-after.ts';

const MAX_MESSAGE_CHARS = 4096;
const MAX_STACK_CHARS = 8192;
const MAX_CAUSES = 3;

/** Folders that mean nothing to the Action's author: our own, cut out of stacks; theirs, cut short. */
export interface StackPaths {
  runnerUrl: string;
  dependenciesDir: string | null;
}

/**
 * What is kept of something that was thrown, be it an error or not. `retryable` is false only when the thrown object
 * says so or `type` is `ACTION_INVALID`; its `retryAfter` is a number of seconds, or a date (see `retryAfterOf`).
 */
export function describeError(thrown: unknown, type: ActionErrorType, paths: StackPaths): ActionError {
  try {
    return describe(thrown, type, paths);
  } catch {
    // A getter or proxy of the thrown object threw in turn.
    return { type, name: 'Error', message: 'The thrown value cannot be read.', retryable: type !== 'ACTION_INVALID' };
  }
}

function describe(thrown: unknown, type: ActionErrorType, paths: StackPaths): ActionError {
  const fields = typeof thrown === 'object' && thrown !== null ? (thrown as Record<string, unknown>) : {};
  const isError = thrown instanceof Error || typeof fields['message'] === 'string';
  const stack = typeof fields['stack'] === 'string' ? ownFrames(fields['stack'], paths) : '';
  const retryAfterMs = retryAfterOf(fields['retryAfter']);
  const name = isError && typeof fields['name'] === 'string' ? fields['name'].slice(0, 200) : 'Error';
  const saysNoMore = stack === '' || stack === `${name}: ${String(fields['message'])}`;
  return {
    type,
    name,
    message: (isError ? withCauses(fields) : textOf(thrown)).slice(0, MAX_MESSAGE_CHARS),
    ...(saysNoMore ? {} : { stack: stack.slice(0, MAX_STACK_CHARS) }),
    retryable: type !== 'ACTION_INVALID' && fields['retryable'] !== false,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
}

/** `fetch failed` alone helps nobody: the reason stands in `cause`, or in the first of an AggregateError's errors. */
function withCauses(error: Record<string, unknown>): string {
  let text = messageOf(error);
  let cause = error['cause'];
  for (let depth = 0; depth < MAX_CAUSES && typeof cause === 'object' && cause !== null; depth++) {
    const fields = cause as Record<string, unknown>;
    const message = messageOf(fields);
    if (message !== '' && !text.includes(message)) text += ` [cause: ${message}]`;
    cause = fields['cause'];
  }
  return text;
}

function messageOf(error: Record<string, unknown>): string {
  const message = typeof error['message'] === 'string' ? error['message'] : '';
  if (message !== '') return message;
  const first = Array.isArray(error['errors']) ? (error['errors'][0] as unknown) : undefined;
  if (typeof first === 'object' && first !== null) return messageOf(first as Record<string, unknown>);
  return typeof error['code'] === 'string' ? error['code'] : '';
}

function textOf(thrown: unknown): string {
  return typeof thrown === 'string' ? thrown : inspect(thrown, { depth: 2 });
}

function ownFrames(stack: string, { runnerUrl, dependenciesDir }: StackPaths): string {
  const lines = stack.split('\n').filter((line) => {
    const isFrame = /^\s+at /.test(line);
    return !isFrame || !(line.includes('node:') || line.includes(runnerUrl));
  });
  const text = lines.join('\n');
  return dependenciesDir === null ? text : text.replaceAll(`file://${dependenciesDir}/`, '').replaceAll(`${dependenciesDir}/`, '');
}
