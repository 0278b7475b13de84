import { isBuiltin } from 'node:module';
import { type AnyNode, type CallExpression, type Expression, type MemberExpression, parse, type Program } from 'acorn';
import { full, fullAncestor } from 'acorn-walk';

/** Reads an Action's code as CommonJS. @returns null when acorn cannot, which does not mean that V8 cannot. */
export function parseCode(code: string): Program | null {
  try {
    return parse(code, { ecmaVersion: 'latest', sourceType: 'commonjs', locations: true, allowHashBang: true });
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

export function lineOf(node: AnyNode): number {
  return node.loc?.start.line ?? 0;
}

/** A handler as the code exports it. */
export interface ExportedHandler {
  name: string;
  line: number;
  /** Null when the code alone does not tell. */
  isAsync: boolean | null;
}

/** The exports that are named like handlers (`onExecute…`, `onContinue…`). */
export interface Exports {
  handlers: ExportedHandler[];
  /** There may be exports that cannot be seen without running the code. */
  isOpen: boolean;
}

/** What the code assigns to `exports.x` and `module.exports`; the last assignment of a name counts. */
export function findExports(program: Program): Exports {
  const handlers = new Map<string, ExportedHandler>();
  let isOpen = false;
  const functions = functionsOf(program);

  function add(name: string | undefined, value: AnyNode): void {
    // `exports.x = void 0` is what TypeScript's compiler puts first.
    if (name === undefined || value.type === 'UnaryExpression') return;
    if (/^on(Execute|Continue)[A-Z]/.test(name)) handlers.set(name, { name, line: lineOf(value), isAsync: isAsync(value, functions) });
  }

  full(program, (node) => {
    if (node.type === 'CallExpression' && node.arguments.some(isExportsObject) && !marksModule(node)) isOpen = true;
    if (node.type !== 'AssignmentExpression') return;
    const { left } = node;
    const value = assigned(node.right);
    if (left.type === 'MemberExpression' && isExportsObject(left.object)) {
      add(propertyName(left), value);
    } else if (pathOf(left) === 'module.exports') {
      if (value.type !== 'ObjectExpression') isOpen ||= !isExportsObject(value);
      else for (const property of value.properties) {
        if (property.type === 'SpreadElement' || keyName(property) === undefined) isOpen = true;
        else add(keyName(property), property.value);
      }
    }
  });
  return { handlers: [...handlers.values()], isOpen };
}

/** `Object.defineProperty(exports, '__esModule', …)`, as compilers write it. */
function marksModule({ arguments: [, name] }: CallExpression): boolean {
  return name !== undefined && textOf(name) === '__esModule';
}

/** `a = b = f`: the `f`. */
function assigned(node: Expression): Expression {
  return node.type === 'AssignmentExpression' ? assigned(node.right) : node;
}

function isExportsObject(node: AnyNode): boolean {
  const path = pathOf(node);
  return path === 'exports' || path === 'module.exports';
}

function isAsync(value: AnyNode, functions: Map<string, { isAsync: boolean }>): boolean | null {
  if (isFunction(value)) return value.async && !value.generator;
  if (value.type === 'Identifier') return functions.get(value.name)?.isAsync ?? null;
  return null;
}

export function isFunction(node: AnyNode) {
  return node.type === 'FunctionExpression' || node.type === 'ArrowFunctionExpression' || node.type === 'FunctionDeclaration';
}

/** The functions that the code names, by `function f` or `const f = …`. */
export function functionsOf(program: Program): Map<string, { isAsync: boolean }> {
  const functions = new Map<string, { isAsync: boolean }>();
  const add = (name: string, node: { async: boolean; generator: boolean }) => functions.set(name, { isAsync: node.async && !node.generator });
  full(program, (node) => {
    if (node.type === 'FunctionDeclaration' && node.id) add(node.id.name, node);
    else if (node.type === 'VariableDeclarator' && node.id.type === 'Identifier' && node.init && isFunction(node.init)) add(node.id.name, node.init);
  });
  return functions;
}

/** A module that the code asks for. */
export interface Required {
  specifier: string;
  kind: 'require' | 'import';
  line: number;
  /** It stands in a `try`: the Action may do without. */
  isGuarded: boolean;
}

export function findRequired(program: Program): Required[] {
  const found: Required[] = [];
  fullAncestor(program, (node, _state, ancestors) => {
    const specifier = requiredBy(node);
    if (specifier === undefined) return;
    found.push({ specifier, kind: node.type === 'ImportExpression' ? 'import' : 'require', line: lineOf(node), isGuarded: ancestors.some(({ type }) => type === 'TryStatement') });
  });
  return found;
}

/** What a call of `require`, or an `import` in an expression, names. */
export function requiredBy(node: AnyNode): string | undefined {
  if (node.type === 'ImportExpression') return textOf(node.source);
  if (node.type !== 'CallExpression' || node.callee.type !== 'Identifier' || node.callee.name !== 'require') return undefined;
  const [argument] = node.arguments;
  return argument === undefined ? undefined : textOf(argument);
}

/** `@scope/name` of `@scope/name/file`; undefined for Node's own modules, files and Actions Modules. */
export function packageOf(specifier: string): string | undefined {
  if (isBuiltin(specifier) || /^[./\\]/.test(specifier) || /^[a-z]+:/.test(specifier)) return undefined;
  return specifier.split('/').slice(0, specifier.startsWith('@') ? 2 : 1).join('/');
}

/** The value of a string literal, also one in backticks. */
export function textOf(node: AnyNode): string | undefined {
  if (node.type === 'Literal' && typeof node.value === 'string') return node.value;
  if (node.type === 'TemplateLiteral' && node.expressions.length === 0) return node.quasis[0]?.value.cooked ?? undefined;
  return undefined;
}

/** `a.b.c` of a chain of names; undefined for anything else. */
export function pathOf(node: AnyNode): string | undefined {
  if (node.type === 'Identifier') return node.name;
  if (node.type === 'ChainExpression') return pathOf(node.expression);
  if (node.type !== 'MemberExpression') return undefined;
  const object = pathOf(node.object);
  const property = propertyName(node);
  return object === undefined || property === undefined ? undefined : `${object}.${property}`;
}

export function propertyName({ computed, property }: MemberExpression): string | undefined {
  if (computed) return textOf(property);
  return property.type === 'Identifier' ? property.name : undefined;
}

/** The name of an object's property, however it is written. */
export function keyName({ key, computed }: { key: AnyNode; computed: boolean }): string | undefined {
  return key.type === 'Identifier' && !computed ? key.name : textOf(key);
}

/** The call of an expression, through `?.`; undefined when it is no call. */
export function callIn(node: AnyNode): CallExpression | undefined {
  if (node.type === 'ChainExpression') return callIn(node.expression);
  return node.type === 'CallExpression' ? node : undefined;
}
