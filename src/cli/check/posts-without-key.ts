import type { AnyNode, CallExpression, Program } from 'acorn';
import { full } from 'acorn-walk';
import { keyName, lineOf, pathOf, textOf } from '../code.ts';
import type { CodeHint, HintFinder } from './hint.ts';
import { callsOf } from './http-clients.ts';

/** Names by which receivers tell repeated requests apart. */
const KEY = /idempoten|dedup|request[-_]?id/i;
/** Headers in an object in a variable in an object. */
const MAX_DEPTH = 4;

/**
 * HTTP posts that nothing marks as one: an attempt may run again after a crash, and the receiver could not tell. Of
 * pre-user-registration each runs once.
 */
export const findPostsWithoutKey: HintFinder = (program, trigger) => {
  if (trigger !== 'post-user-registration') return [];
  const calls = callsOf(program);
  const values = valuesOf(program);
  const hints: CodeHint[] = [];

  const isPost = (call: CallExpression): boolean =>
    calls.methodByName(call) === 'POST' || (calls.takesMethod(call) && call.arguments.some((argument) => saysPost(resolved(argument, values))));

  full(program, (node) => {
    if (node.type !== 'CallExpression' || !isPost(node)) return;
    const client = values.get((pathOf(node.callee) ?? '').split('.')[0] ?? '');
    if ([...node.arguments, ...(client === undefined ? [] : [client])].some((part) => mentionsKey(part, values, 0))) return;
    hints.push({
      rule: 'post-without-key',
      line: lineOf(node),
      message: 'A POST without an idempotency key: it can arrive twice after a crash. Send event.usher.idempotency_key, e.g. as the header Idempotency-Key, if the receiver knows one.',
    });
  });
  return hints;
};

/** What each variable is first set to. */
function valuesOf(program: Program): Map<string, AnyNode> {
  const values = new Map<string, AnyNode>();
  full(program, (node) => {
    if (node.type === 'VariableDeclarator' && node.id.type === 'Identifier' && node.init) values.set(node.id.name, node.init);
  });
  return values;
}

function resolved(node: AnyNode, values: Map<string, AnyNode>): AnyNode {
  return node.type === 'Identifier' ? (values.get(node.name) ?? node) : node;
}

function saysPost(node: AnyNode): boolean {
  if (node.type !== 'ObjectExpression') return false;
  return node.properties.some((property) => property.type === 'Property' && keyName(property) === 'method' && textOf(property.value)?.toUpperCase() === 'POST');
}

function mentionsKey(node: AnyNode, values: Map<string, AnyNode>, depth: number): boolean {
  let found = false;
  full(node, (each) => {
    if (found) return;
    if (each.type === 'Identifier') {
      const value = values.get(each.name);
      found = KEY.test(each.name) || (value !== undefined && value !== node && depth < MAX_DEPTH && mentionsKey(value, values, depth + 1));
    } else if (each.type === 'MemberExpression') found = KEY.test(pathOf(each) ?? '');
    else if (each.type === 'Property') found = KEY.test(keyName(each) ?? '');
    else found = KEY.test(textOf(each) ?? '');
  });
  return found;
}
