import type { ActionError, ApiCommand, CacheChange, LogLine, OutgoingCall } from '../domain/invocation.ts';
import type { ActionFiles } from './action-files.ts';
import { ACTION_FILE, type RunResult } from './run-action.ts';
import { shownPath, type Terminal } from './terminal.ts';

/** A run as `--json` prints it, on one line. */
export function runAsJson(action: ActionFiles, result: RunResult, { mask, workingDir }: { mask(text: string): string; workingDir: string }): string {
  const { trigger, notes, packages, error, report, isolation } = result;
  const { logs = [], logsTruncated = false, calls = [], commands = [], cacheChanges = [], stats = null } = report ?? {};
  const said = { error: error === null ? null : withPlaces(error, action, workingDir), logs, logsTruncated, calls, commands, cacheChanges };
  return JSON.stringify({ action: action.name, file: action.codeFile, trigger, notes, packages, ...(masked(said, mask) as typeof said), stats, isolation });
}

/** A run for people. */
export function sayRun(action: ActionFiles, result: RunResult, { terminal, mask, workingDir }: { terminal: Terminal; mask(text: string): string; workingDir: string }): void {
  const { style } = terminal;
  const say = (line: string) => terminal.say(mask(line));
  const row = (label: string, text: string) => say(`${style('dim', label.padEnd(6))} ${text}`);
  const { trigger, notes, packages, error, report, isolation } = result;

  say(`${style('bold', action.name)} · ${trigger} · ${shownPath(action.codeFile, workingDir)}`);
  if (packages.length > 0) row('npm', packages.map(({ name, version }) => `${name} ${version}`).join(', '));
  for (const note of notes) row('note', note);
  for (const line of report?.logs ?? []) row(line.level, logText(line));
  if (report?.logsTruncated === true) row('note', 'The rest of the output was cut.');
  for (const call of report?.calls ?? []) row('call', isFailed(call) ? style('yellow', callText(call)) : callText(call));
  for (const text of asked(report)) row('api', text);

  const time = report === null ? '' : ` in ${report.stats.action_duration_ms} ms (its sandbox started in ${report.stats.boot_duration_ms} ms)`;
  if (error === null) {
    const failed = report?.calls.filter(isFailed).length ?? 0;
    say(`${style('green', '✓ succeeded')}${time}${failed === 0 ? '' : style('yellow', `, with ${failed} failed call${failed > 1 ? 's' : ''}`)}`);
    const denial = report?.commands.some(({ kind }) => kind === 'access.deny' || kind === 'validation.error') ?? false;
    if (denial) say('  It denies the sign-up.');
  } else {
    say(`${style('red', '✗ failed')}${time}: ${error.type}`);
    const { message, name, stack } = withPlaces(error, action, workingDir);
    for (const line of (stack ?? `${name}: ${message}`).split('\n')) say(`  ${line}`);
    if (stack !== undefined && !stack.includes(message)) say(`  ${message}`);
    if (report !== null) say(style('dim', `  ${consequence(result, error)}`));
  }
  if (isolation.length > 0) say(style('dim', wallsText(isolation)));
}

/** The error with its frames at the Action's own file. */
function withPlaces(error: ActionError, { codeFile }: ActionFiles, workingDir: string): ActionError {
  if (error.stack === undefined) return error;
  const file = shownPath(codeFile, workingDir);
  const frame = new RegExp(`(^|[\\s(])${ACTION_FILE}\\.js(?=:\\d)`, 'gm');
  return { ...error, stack: error.stack.replaceAll(frame, (_match, before: string) => before + file) };
}

function consequence({ trigger }: RunResult, { retryable }: ActionError): string {
  if (trigger === 'pre-user-registration') return 'On a server the sign-up would be denied, unless the binding says on_error: allow.';
  return retryable ? 'On a server it would be tried again.' : 'On a server it would not be tried again, as no retry can mend it.';
}

function isFailed({ status, error }: OutgoingCall): boolean {
  return error !== undefined || (status ?? 0) >= 400;
}

function callText({ method, host, status, error, durationMs }: OutgoingCall): string {
  return `${method} ${host}  ${error ?? status}  ${durationMs} ms`;
}

/** Lines below the first stand under it. */
function logText({ text }: LogLine): string {
  return text.replaceAll('\n', `\n${' '.repeat(7)}`);
}

function asked(report: RunResult['report']): string[] {
  return [...(report?.commands ?? []).map(commandText), ...(report?.cacheChanges ?? []).map(cacheText)];
}

function commandText(command: ApiCommand): string {
  const { kind, ...args } = command;
  return `${kind}(${Object.values(args).map((value) => JSON.stringify(value)).join(', ')})`;
}

function cacheText(change: CacheChange): string {
  if (change.kind === 'delete') return `cache.delete(${JSON.stringify(change.key)})`;
  return `cache.set(${JSON.stringify(change.key)}, ${JSON.stringify(change.record.value)}) until ${new Date(change.record.expires_at).toISOString()}`;
}

function wallsText(isolation: string[]): string {
  const name = (line: string) => line.slice(0, line.indexOf(':'));
  const [missing, inForce] = [isolation.filter((line) => line.includes('MISSING')), isolation.filter((line) => !line.includes('MISSING'))];
  return `  walls: ${inForce.map(name).join(', ')}${missing.length === 0 ? '' : `; missing: ${missing.map(name).join(', ')}`}`;
}

/** All texts without secrets; below a `value`, which is the Action's own, the names of properties too. */
function masked(value: unknown, mask: (text: string) => string, isOwn = false): unknown {
  if (typeof value === 'string') return mask(value);
  if (Array.isArray(value)) return value.map((each) => masked(each, mask, isOwn));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [isOwn ? mask(key) : key, masked(each, mask, isOwn || key === 'value')]));
}
