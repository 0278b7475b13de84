import { isTriggerId } from '../../domain/triggers.ts';
import { shownPath, type Terminal } from '../terminal.ts';
import type { CheckedAction, CheckedExport } from './check-export.ts';

/** A check for people. */
export function sayCheck({ actions, notes, ok }: CheckedExport, { terminal, workingDir }: { terminal: Terminal; workingDir: string }): void {
  const { say, style } = terminal;
  for (const action of actions) {
    const verdict = action.runsHere ? style('green', '✓ runs here') : style(isOther(action) ? 'dim' : 'red', '✗ does not run here');
    say(`${verdict}  ${style('bold', action.name)}${action.trigger === null ? '' : ` · ${action.trigger}${placeOf(action)}`}`);
    for (const reason of action.reasons) say(`    why: ${reason}.`);
    for (const { message, file, line } of action.hints) say(`    ${style('yellow', 'hint')} ${shownPath(file, workingDir)}:${line}  ${message}`);
  }
  for (const note of notes) say(`${style('yellow', 'note')}  ${note}`);

  const ours = actions.filter((action) => !isOther(action));
  const others = actions.length - ours.length;
  const hints = actions.reduce((sum, action) => sum + action.hints.length, 0);
  say('');
  say(`${ours.filter(({ runsHere }) => runsHere).length} of ${ours.length} registration Actions run here${others === 0 ? '' : `; ${others} of other triggers ${others === 1 ? 'is' : 'are'} kept and not run`}.`);
  if (hints > 0) say(`${hints === 1 ? '1 hint' : `${hints} hints`}: places to look at, found by the look of the code; they prove nothing, and what has none may still fail.`);
  if (!ok) say(style('red', 'Mend what does not run before you import.'));
}

function isOther({ trigger }: CheckedAction): boolean {
  return trigger !== null && !isTriggerId(trigger);
}

function placeOf({ position }: CheckedAction): string {
  return position === null ? ', not bound' : `, bound as number ${position}`;
}
