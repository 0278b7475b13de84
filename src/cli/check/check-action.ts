import { BuildFailure } from '../../builds/build-failure.ts';
import { checkSyntax } from '../../builds/syntax.ts';
import { LIMITS } from '../../domain/limits.ts';
import { isTriggerId, type TriggerId, TRIGGERS } from '../../domain/triggers.ts';
import type { ActionDefinition, ActionFiles } from '../action-files.ts';
import { findExports, findRequired, lineOf, packageOf, parseCode } from '../code.ts';
import { missingModules, type ModuleFiles } from '../module-files.ts';
import type { Hint } from './hint.ts';
import { findNotAwaited } from './not-awaited.ts';
import { findNotInSandbox } from './not-in-sandbox.ts';
import { findPostsWithoutKey } from './posts-without-key.ts';
import { findSwallowedErrors } from './swallowed-errors.ts';

const FINDERS = [findSwallowedErrors, findNotAwaited, findPostsWithoutKey, findNotInSandbox];

/** What the files of an Action say about it. */
export interface ActionCheck {
  /** Why it will not run here; empty when nothing speaks against it. */
  reasons: string[];
  hints: Hint[];
}

/** Checks what can be seen without the registry and without running anything. @param modules those of the Action that are there. */
export function checkAction(action: ActionFiles & { definition: ActionDefinition }, modules: ModuleFiles[]): ActionCheck {
  const { definition } = action;
  const [trigger] = definition.supported_triggers;
  const hints: Hint[] = [];
  for (const { text, file, line } of [action, ...modules].flatMap(({ keywords }) => keywords)) {
    hints.push({ rule: 'keyword', file, line, message: `The keyword ${text} is replaced by the deploy CLI; it was checked as it stands.` });
  }
  hints.push(...modules.flatMap(secretsWithoutValue));
  for (const { module_name: name, module_version_number: number = 1 } of definition.modules) {
    if (number === 1) continue;
    hints.push({ rule: 'actions-module', file: action.definitionFile ?? action.codeFile, line: 1, message: `The first import makes version 1 of the module ${name}, and version ${String(number)} is asked for: set "module_version_number" to 1 for it.` });
  }
  if (trigger === undefined) return { reasons: ['it names no trigger'], hints };
  if (!isTriggerId(trigger.id)) return { reasons: [`the trigger ${trigger.id} does not run here: the Action is kept, and never run`], hints };

  const { version, runtimes } = TRIGGERS[trigger.id];
  const reasons: string[] = [];
  if ((trigger.version ?? version) !== version) reasons.push(`version ${trigger.version} of the trigger is not supported: write the handler for ${version}`);
  else hints.push(...secretsWithoutValue(action));
  if (!runtimes.includes(definition.runtime)) reasons.push(`the runtime ${definition.runtime} is not supported: choose ${runtimes.join(' or ')}`);
  reasons.push(...limitsPassed(action), ...brokenModules(definition, modules));
  for (const { name, registry_url: url } of definition.dependencies) {
    if (url) reasons.push(`${name} comes from a registry of its own (${url}), which is not supported`);
  }
  const code = checkCode(action, trigger.id);
  return { reasons: [...reasons, ...code.reasons], hints: [...hints, ...code.hints] };
}

/** What of its modules an import or the build would refuse. */
function brokenModules(definition: ActionDefinition, modules: ModuleFiles[]): string[] {
  const broken = missingModules(definition, modules).map((name) => `it uses the module ${name}, which is not in the export: export again with "actionModules" included`);
  for (const { name, code } of modules) {
    const problem = syntaxProblem(code, name);
    if (problem !== null) broken.push(problem);
  }
  return broken;
}

function secretsWithoutValue({ definition, definitionFile, codeFile }: (ActionFiles | ModuleFiles) & { definition: ModuleFiles['definition'] }): Hint[] {
  const empty = definition.secrets.filter(({ value }) => value === undefined).map(({ name }) => name);
  if (empty.length === 0) return [];
  const message = `${empty.join(', ')} ${empty.length === 1 ? 'has no value' : 'have no values'} here, and the first import is refused without: add "value" to the secret, e.g. as a keyword of the deploy CLI.`;
  return [{ rule: 'secret-without-value', file: definitionFile ?? codeFile, line: 1, message }];
}

function limitsPassed({ code, definition: { dependencies, secrets } }: { code: string; definition: ActionDefinition }): string[] {
  const passed: string[] = [];
  const bytes = Buffer.byteLength(code);
  if (bytes > LIMITS.codeBytes) passed.push(`its code has ${Math.ceil(bytes / 1024)} KiB; ${LIMITS.codeBytes / 1024} are the limit`);
  if (dependencies.length > LIMITS.dependenciesPerAction) passed.push(`it has ${dependencies.length} dependencies; ${LIMITS.dependenciesPerAction} are the limit`);
  if (secrets.length > LIMITS.secretsPerAction) passed.push(`it has ${secrets.length} secrets; ${LIMITS.secretsPerAction} are the limit`);
  const long = secrets.find(({ name }) => name.length > LIMITS.secretNameChars);
  if (long !== undefined) passed.push(`the name of a secret has ${long.name.length} characters; ${LIMITS.secretNameChars} are the limit`);
  return passed;
}

function syntaxProblem(code: string, module?: string): string | null {
  try {
    checkSyntax(code, module);
    return null;
  } catch (error) {
    if (!(error instanceof BuildFailure)) throw error;
    return error.message.replace(/\.$/, '');
  }
}

function checkCode({ code, codeFile, definition }: ActionFiles & { definition: ActionDefinition }, trigger: TriggerId): ActionCheck {
  const problem = syntaxProblem(code);
  if (problem !== null) return { reasons: [problem], hints: [] };
  const program = parseCode(code);
  if (program === null) {
    return { reasons: [], hints: [{ rule: 'unreadable', file: codeFile, line: 1, message: 'The code is valid, but uses syntax that these checks cannot read: it was not looked at further.' }] };
  }
  const reasons: string[] = [];
  const hints: Hint[] = FINDERS.flatMap((find) => find(program, trigger)).map((hint) => ({ ...hint, file: codeFile }));

  const { handler } = TRIGGERS[trigger];
  const exports = findExports(program);
  const exported = exports.handlers.find(({ name }) => name === handler);
  if (exported?.isAsync === false) reasons.push(`${handler} (line ${exported.line}) is not an async function`);
  if (exported === undefined && !exports.isOpen) reasons.push(`the code does not export ${handler}`);
  if (exported === undefined ? exports.isOpen : exported.isAsync === null) {
    const line = exported?.line ?? lineOf(program);
    hints.push({ rule: 'unreadable', file: codeFile, line, message: `Whether ${handler} is an async function shows only when the code runs: try it by usher action run.` });
  }

  const declared = definition.dependencies.map(({ name }) => name);
  const modules = definition.modules.map(({ module_name: name }) => name);
  for (const { specifier, line, isGuarded, kind } of findRequired(program)) {
    const name = packageOf(specifier);
    if (specifier.startsWith('actions:')) {
      if (modules.includes(specifier.slice('actions:'.length))) continue;
      if (isGuarded) hints.push({ rule: 'actions-module', file: codeFile, line, message: `${specifier} is not among the Action's modules.` });
      else reasons.push(`it requires ${specifier} (line ${line}), which is not among its modules`);
    } else if (/^[./\\]/.test(specifier) && !isGuarded) {
      reasons.push(`it requires the file ${specifier} (line ${line}), and an Action is a single file`);
    } else if (name !== undefined && kind === 'require' && !declared.includes(name)) {
      if (declared.length === 0 && !isGuarded) reasons.push(`it requires ${name} (line ${line}), which is not among its dependencies`);
      else hints.push({ rule: 'missing-package', file: codeFile, line, message: `${name} is not among the dependencies: it is there only if one of them brings it along.` });
    }
  }
  return { reasons, hints: hints.toSorted((a, b) => a.line - b.line) };
}
