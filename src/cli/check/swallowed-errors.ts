import type { AnyNode, BlockStatement } from 'acorn';
import { full } from 'acorn-walk';
import { callIn, isFunction, lineOf, pathOf, propertyName } from '../code.ts';
import type { CodeHint, HintFinder } from './hint.ts';

/** `catch` blocks and `.catch(…)` that do nothing, or only log in an Action that would be tried again. */
export const findSwallowedErrors: HintFinder = (program, trigger) => {
  const hints: CodeHint[] = [];
  function add(node: AnyNode, does: 'nothing' | 'logs'): void {
    if (does === 'logs' && trigger === 'pre-user-registration') return;
    const what = does === 'nothing' ? 'An error is caught and nothing is done about it' : 'An error is caught and only logged';
    const consequence = trigger === 'post-user-registration' ? 'the Action then counts as succeeded and is not tried again: throw it on' : 'the sign-up goes on as if all were well';
    hints.push({ rule: 'swallowed-error', line: lineOf(node), message: `${what}: ${consequence}.` });
  }

  full(program, (node) => {
    if (node.type === 'CatchClause') {
      const does = whatDoes(node.body);
      if (does !== null) add(node, does);
    }
    if (node.type !== 'CallExpression' || node.callee.type !== 'MemberExpression' || propertyName(node.callee) !== 'catch') return;
    const [handler] = node.arguments;
    if (handler === undefined) return;
    const does = whatHandlerDoes(handler);
    if (does !== null) add(handler, does);
  });
  return hints;
};

type Does = 'nothing' | 'logs' | null;

function whatDoes({ body }: BlockStatement): Does {
  const statements = body.filter(({ type }) => type !== 'EmptyStatement');
  if (statements.length === 0) return 'nothing';
  return statements.every((statement) => statement.type === 'ExpressionStatement' && isLog(statement.expression)) ? 'logs' : null;
}

function whatHandlerDoes(handler: AnyNode): Does {
  if (pathOf(handler)?.startsWith('console.') === true) return 'logs';
  if (!isFunction(handler)) return null;
  const { body } = handler;
  if (body.type === 'BlockStatement') return whatDoes(body);
  if (isLog(body)) return 'logs';
  const isNothing = body.type === 'Literal' || (body.type === 'Identifier' && body.name === 'undefined') || (body.type === 'UnaryExpression' && body.operator === 'void');
  return isNothing ? 'nothing' : null;
}

function isLog(node: AnyNode): boolean {
  const call = callIn(node);
  return call !== undefined && (pathOf(call.callee) ?? '').startsWith('console.');
}
