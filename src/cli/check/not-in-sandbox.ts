import type { AnyNode, Program } from 'acorn';
import { full } from 'acorn-walk';
import { findRequired, keyName, lineOf, packageOf, pathOf, propertyName, requiredBy } from '../code.ts';
import type { CodeHint, HintFinder } from './hint.ts';

/** Node's modules that the sandbox refuses, as tried there. */
const REFUSED = new Map([
  ['child_process', 'starts programs, which the sandbox refuses'],
  ['worker_threads', 'starts threads, which the sandbox refuses'],
  ['cluster', 'starts processes, which the sandbox refuses'],
  ['inspector', 'is refused by the sandbox'],
  ['dgram', 'opens sockets for UDP, which the sandbox has no network for'],
  ['sqlite', 'does not exist in the sandbox'],
  ['ffi', 'does not exist in the sandbox'],
]);
const WRITING = /^(write|append|mkdir|mkdtemp|rm|rmdir|unlink|rename|copyFile|cp|chmod|chown|truncate|symlink|link|createWriteStream)/;
const ENVIRONMENT = /^process\.env\.\w/;
const SERVERS = /^(http|https|http2|net|tls)\.createServer$/;

/** What an Action's code asks of Node that is not there for it. */
export const findNotInSandbox: HintFinder = (program) => {
  const hints: CodeHint[] = [];
  const add = (line: number, message: string) => hints.push({ rule: 'not-in-sandbox', line, message });

  for (const { specifier, kind, line } of findRequired(program)) {
    const name = specifier.replace(/^node:/, '').split('/')[0] ?? '';
    const why = REFUSED.get(name);
    if (why !== undefined && packageOf(specifier) === undefined) add(line, `${specifier} ${why}.`);
    if (kind === 'import' && packageOf(specifier) !== undefined) add(line, `import does not find the Action's packages: use require for ${specifier}.`);
  }
  const files = namesOfFs(program);
  full(program, (node) => {
    if (node.type === 'MemberExpression' && ENVIRONMENT.test(pathOf(node) ?? '')) {
      add(lineOf(node), `${pathOf(node)} is undefined, as the environment of an Action is empty: use event.secrets.`);
    }
    if (node.type !== 'CallExpression') return;
    const path = pathOf(node.callee) ?? '';
    if (isWrite(node.callee, files)) add(lineOf(node), `${path || 'A call of fs'}(…) writes files, which the sandbox refuses.`);
    if (SERVERS.test(path)) add(lineOf(node), `${path}(…): an Action cannot listen for connections.`);
    if (path === 'process.exit' || path === 'process.abort') add(lineOf(node), `${path}(…) ends the sandbox's process, and the attempt fails.`);
  });
  return hints;
};

/** The names that `fs`, `fs/promises` and their functions have in the code. */
function namesOfFs(program: Program): { modules: Set<string>; functions: Map<string, string> } {
  const modules = new Set<string>();
  const functions = new Map<string, string>();
  full(program, (node) => {
    if (node.type !== 'VariableDeclarator' || !node.init) return;
    const value = node.init.type === 'MemberExpression' ? node.init.object : node.init;
    if (!/^(node:)?fs(\/promises)?$/.test(requiredBy(value) ?? '')) return;
    if (node.id.type === 'Identifier') modules.add(node.id.name);
    if (node.id.type !== 'ObjectPattern') return;
    for (const property of node.id.properties) {
      if (property.type !== 'Property' || property.value.type !== 'Identifier') continue;
      const name = keyName(property) ?? '';
      if (name === 'promises') modules.add(property.value.name);
      else functions.set(property.value.name, name);
    }
  });
  return { modules, functions };
}

function isWrite(callee: AnyNode, { modules, functions }: ReturnType<typeof namesOfFs>): boolean {
  if (callee.type === 'Identifier') return WRITING.test(functions.get(callee.name) ?? '');
  if (callee.type !== 'MemberExpression') return false;
  const root = pathOf(callee)?.split('.')[0];
  const isFs = root === undefined ? /^(node:)?fs/.test(requiredBy(callee.object) ?? '') : modules.has(root);
  return isFs && WRITING.test(propertyName(callee) ?? '');
}
