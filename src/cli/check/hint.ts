import type { Program } from 'acorn';
import type { TriggerId } from '../../domain/triggers.ts';

/** What a hint is about. The name is a contract: it stands in the output of `--json`. */
export type HintRule =
  | 'swallowed-error'
  | 'not-awaited'
  | 'post-without-key'
  | 'install-script'
  | 'actions-module'
  | 'not-in-sandbox'
  | 'missing-package'
  | 'keyword'
  | 'secret-without-value'
  | 'unreadable';

/** A risk that the code shows: a place to look at, not a proof. */
export interface Hint {
  rule: HintRule;
  message: string;
  file: string;
  line: number;
}

/** A hint in the code, before it is known which file that is. */
export type CodeHint = Omit<Hint, 'file'>;

/** Looks for one kind of risk. */
export type HintFinder = (program: Program, trigger: TriggerId) => CodeHint[];
