import type { AnyNode, CallExpression, Program } from 'acorn';
import { full } from 'acorn-walk';
import { functionsOf, pathOf, requiredBy } from '../code.ts';

/** Packages whose functions send HTTP requests. */
const PACKAGES = new Set(['axios', 'got', 'ky', 'node-fetch', 'cross-fetch', 'undici', 'superagent', 'needle', 'phin', 'request-promise', 'request-promise-native', 'wretch']);
/** Packages whose classes are clients of a service: all their methods send. */
const SERVICES = new Set(['auth0', '@slack/web-api', 'stripe', 'twilio']);
/** Methods that send, on whatever they are called; `get` and `delete` are those of a Map too. */
const SENDING = new Set(['send', 'post', 'put', 'patch', 'request', 'sendMail', 'publish']);
const SENDING_OF_CLIENTS = new Set([...SENDING, 'get', 'delete', 'head']);
/** Objects that are no clients of HTTP, or none with promises. */
const NOT_CLIENTS = new Set(['api', 'console', 'process', 'http', 'https', 'res', 'response', 'exports', 'module']);
const OF_PROMISES = new Set(['Promise.all', 'Promise.allSettled', 'Promise.any', 'Promise.race']);

/** What is known of the calls of a program. */
export interface Calls {
  /** The call gives a promise, as far as its name tells. */
  givesPromise(call: CallExpression): boolean;
  /** The method of the HTTP request that the call makes, e.g. `POST`, by its name. */
  methodByName(call: CallExpression): string | undefined;
  /** The call is one of a client that takes method and headers in an object, e.g. `fetch(url, { method })`. */
  takesMethod(call: CallExpression): boolean;
}

export function callsOf(program: Program): Calls {
  const clients = namesFor(program, makesClient, ['fetch']);
  const services = namesFor(program, makesService, []);
  const functions = functionsOf(program);

  function parts(call: CallExpression): { path: string; root: string; method: string | undefined } {
    const path = pathOf(call.callee) ?? '';
    const names = path.split('.');
    return { path, root: names[0] ?? '', method: names.length > 1 ? names.at(-1) : undefined };
  }

  return {
    givesPromise(call) {
      const { path, root, method } = parts(call);
      const last = call.arguments.at(-1);
      // A callback: the result comes by it.
      if (last?.type === 'FunctionExpression' || last?.type === 'ArrowFunctionExpression') return false;
      if (method === undefined) return clients.has(path) || functions.get(path)?.isAsync === true;
      if (OF_PROMISES.has(path)) return true;
      if (services.has(root)) return true;
      return (clients.has(root) ? SENDING_OF_CLIENTS : SENDING).has(method) && !NOT_CLIENTS.has(root);
    },
    methodByName(call) {
      const { root, method } = parts(call);
      return method === 'post' && !NOT_CLIENTS.has(root) ? 'POST' : undefined;
    },
    takesMethod(call) {
      const { path, root, method } = parts(call);
      return clients.has(path) || method === 'request' || (clients.has(root) && method !== undefined);
    },
  };
}

/** The variables that hold such a value, or a part of it. */
function namesFor(program: Program, isOne: (value: AnyNode, names: Set<string>) => boolean, first: string[]): Set<string> {
  const names = new Set(first);
  full(program, (node) => {
    if (node.type !== 'VariableDeclarator' || !node.init || !isOne(node.init, names)) return;
    if (node.id.type === 'Identifier') names.add(node.id.name);
    if (node.id.type !== 'ObjectPattern') return;
    for (const property of node.id.properties) {
      if (property.type === 'Property' && property.value.type === 'Identifier') names.add(property.value.name);
    }
  });
  return names;
}

/** What is required of a package for HTTP, and what is made of that: `axios.create()`, `got.extend()`. */
function makesClient(node: AnyNode, clients: Set<string>): boolean {
  if (node.type === 'MemberExpression') return makesClient(node.object, clients);
  if (node.type !== 'CallExpression') return false;
  const required = requiredBy(node);
  if (required !== undefined) return PACKAGES.has(required);
  const [root, method] = (pathOf(node.callee) ?? '').split('.');
  return clients.has(root ?? '') && ['create', 'extend', 'defaults', 'instance'].includes(method ?? '');
}

/** A class of such a package, and what is made by `new` of it. */
function makesService(node: AnyNode, services: Set<string>): boolean {
  if (node.type === 'MemberExpression') return makesService(node.object, services);
  if (node.type === 'NewExpression') return services.has((pathOf(node.callee) ?? '').split('.')[0] ?? '');
  return SERVICES.has(requiredBy(node) ?? '');
}
