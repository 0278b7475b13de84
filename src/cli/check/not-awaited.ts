import type { AnyNode } from 'acorn';
import { full } from 'acorn-walk';
import { callIn, isFunction, lineOf, pathOf, propertyName } from '../code.ts';
import type { CodeHint, HintFinder } from './hint.ts';
import { callsOf } from './http-clients.ts';

const CONSEQUENCE = {
  'post-user-registration': 'Usher waits for it all the same and counts its failure, but no catch of the code sees that, and what follows does not wait.',
  'pre-user-registration': 'The sign-up is answered without waiting for it, and its failure is not seen.',
};

/** Calls whose promise nobody takes: statements like `axios.post(…);`, and `forEach(async …)`. */
export const findNotAwaited: HintFinder = (program, trigger) => {
  const calls = callsOf(program);
  const hints: CodeHint[] = [];
  const add = (node: AnyNode, what: string) => hints.push({ rule: 'not-awaited', line: lineOf(node), message: `${what} is not awaited. ${CONSEQUENCE[trigger]}` });

  full(program, (node) => {
    if (node.type === 'ExpressionStatement') {
      const call = callIn(node.expression);
      if (call !== undefined && calls.givesPromise(call)) add(call, `${pathOf(call.callee) ?? 'A call'}(…)`);
    }
    if (node.type !== 'CallExpression' || node.callee.type !== 'MemberExpression' || propertyName(node.callee) !== 'forEach') return;
    const [each] = node.arguments;
    if (each === undefined || !isFunction(each)) return;
    const call = callIn(each.body);
    if (each.async || (call !== undefined && calls.givesPromise(call))) add(node, 'What forEach(…) begins');
  });
  return hints;
};
