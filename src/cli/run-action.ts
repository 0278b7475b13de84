import { BuildFailure } from '../builds/build-failure.ts';
import type { Dependency } from '../builds/install.ts';
import { newId } from '../domain/ids.ts';
import type { ActionError, RunnableModule } from '../domain/invocation.ts';
import { LIMITS } from '../domain/limits.ts';
import { DEFAULT_STEP_POLICY } from '../domain/policy.ts';
import { sampleEvent } from '../domain/sample-events.ts';
import { isTriggerId, type TriggerId, TRIGGERS } from '../domain/triggers.ts';
import { createLogger } from '../logger.ts';
import { createSandboxPool } from '../sandbox/pool.ts';
import { type TestReport, testRun } from '../sandbox/test-run.ts';
import type { ActionFiles } from './action-files.ts';
import { findExports, findRequired, packageOf, parseCode } from './code.ts';
import { missingModules, type ModuleFiles, withThoseOfModules } from './module-files.ts';
import { installPackages, type Packages, packagesRoot } from './packages.ts';
import { type CommandContext, shownPath, CommandError } from './terminal.ts';

/** What is run, as the command line says it. */
export interface RunInput {
  action: ActionFiles;
  /** Those of the Action that are there. */
  modules: ModuleFiles[];
  /** Null: Auth0's sample. */
  event: Record<string, unknown> | null;
  secrets: Record<string, string>;
  /** Null: as the code says. */
  trigger: string | null;
  /** Install the packages although they are there. */
  reinstall: boolean;
}

/** What one run showed. Secrets are not masked in it yet. */
export interface RunResult {
  trigger: TriggerId;
  /** What to know beside the run itself. */
  notes: string[];
  /** Exact versions of the dependencies. */
  packages: Dependency[];
  error: ActionError | null;
  /** Null when the Action was not started. */
  report: TestReport | null;
  /** The sandbox's walls, in force or missing. */
  isolation: string[];
}

/** Stands in stack traces, as `code.js`. */
export const ACTION_FILE = 'code';

/**
 * Runs an Action once in a sandbox of its own, with its real packages.
 *
 * @throws {CommandError} when the trigger is unclear or does not run here or the registry does not answer,
 *   {TestNotRunError}, and the reason of the context's signal.
 */
export async function runAction(input: RunInput, context: CommandContext): Promise<RunResult> {
  const { action } = input;
  const trigger = triggerOf(action, input.trigger);
  const own = action.definition?.dependencies ?? packagesOf(action.code).map((name) => ({ name, version: 'latest' }));
  const result: RunResult = { trigger, notes: notesOn(input, context.workingDir), packages: [], error: null, report: null, isolation: [] };
  if (action.definition === null && own.length > 0) {
    result.notes.push(`There is no JSON file beside the code that names its dependencies: the packages that it requires are taken at "latest".`);
  }

  let packages: Packages | null = null;
  try {
    const dependencies = withThoseOfModules(own, input.modules);
    if (dependencies.length > 0) packages = await install(dependencies, input, context);
  } catch (error) {
    if (!(error instanceof BuildFailure)) throw error;
    if (error.id === 'registry_unavailable') throw new CommandError('The npm registry did not answer, and these packages are not installed yet. Run it again when npm can reach its registry.', { cause: error });
    if (error.id === 'disk_unavailable') throw new CommandError(error.message, { cause: error });
    return { ...result, error: { type: 'ACTION_INVALID', name: 'BuildFailure', message: error.message, retryable: false } };
  }
  result.packages = packages?.resolved ?? [];
  for (const name of packages?.withInstallScripts ?? []) result.notes.push(`${name} has an install script, which is not run: the package may not work without it.`);

  const pool = await createSandboxPool({
    slots: 1,
    // As on `npm start`: everything is on one machine.
    egress: { allow: context.egressAllow, loopbackOpen: true },
    trustedCertificates: context.trusted,
    ...(packages === null ? {} : { dependenciesRoot: packagesRoot(context.cacheDir) }),
    logger: createLogger({ level: 'silent', role: 'cli' }),
  });
  try {
    const { secrets, modules } = shareOut(input);
    const version = { id: newId(), actionName: ACTION_FILE, triggerId: trigger, code: action.code, dependenciesDir: packages?.dir ?? null, modules };
    const timeoutMs = trigger === 'pre-user-registration' ? LIMITS.preUserRegistrationMs : DEFAULT_STEP_POLICY.timeoutMs;
    const event = input.event ?? sampleEvent(trigger, { now: new Date() });
    const report = await testRun(pool, { version, event, secrets, timeoutMs }, { signal: context.signal });
    return { ...result, error: report.error, report, isolation: pool.describeIsolation() };
  } finally {
    await pool.close({ graceMs: 0 });
  }
}

async function install(dependencies: Dependency[], { reinstall }: RunInput, { cacheDir, signal, terminal }: CommandContext): Promise<Packages> {
  return await installPackages(dependencies, {
    cacheDir,
    anew: reinstall,
    signal,
    onInstall: () => terminal.progress(`Installing ${dependencies.map(({ name, version }) => `${name}@${version}`).join(', ')} …`),
  });
}

/** To each module the secrets that it names, and to the Action all others and those that it names too. */
function shareOut({ action: { definition }, modules, secrets }: RunInput): { secrets: Record<string, string>; modules: RunnableModule[] } {
  const named = (names: { name: string }[], name: string) => names.some((each) => each.name === name);
  const only = (isWanted: (name: string) => boolean) => Object.fromEntries(Object.entries(secrets).filter(([name]) => isWanted(name)));
  return {
    secrets: only((name) => named(definition?.secrets ?? [], name) || !modules.some((module) => named(module.definition.secrets, name))),
    modules: modules.map(({ name, code, definition: { secrets: names } }) => ({ name, code, secrets: only((each) => named(names, each)) })),
  };
}

/** The packages that the code requires. */
export function packagesOf(code: string): string[] {
  const program = parseCode(code);
  if (program === null) return [];
  const names = findRequired(program).map(({ specifier }) => packageOf(specifier));
  return [...new Set(names.filter((name) => name !== undefined))];
}

/** The option, else the handler that the code exports, else the definition. @throws {CommandError} */
function triggerOf({ code, codeFile, definition }: ActionFiles, option: string | null): TriggerId {
  if (option !== null) {
    if (isTriggerId(option)) return option;
    throw new CommandError(`--trigger: "${option}" does not run here; what runs is ${Object.keys(TRIGGERS).join(' and ')}.`);
  }
  const program = parseCode(code);
  const handlers = program === null ? [] : findExports(program).handlers.map(({ name }) => name);
  const exported = Object.values(TRIGGERS).filter(({ handler }) => handlers.includes(handler));
  if (exported.length === 1) return exported[0]!.id;
  const named = definition?.supported_triggers[0]?.id;
  if (named !== undefined && isTriggerId(named)) return named;
  // It will say itself what is wrong with it.
  if (program === null && named === undefined) return 'post-user-registration';
  const [other] = handlers;
  if (exported.length === 0 && other !== undefined) {
    throw new CommandError(`${codeFile} exports ${other}, the handler of a trigger that does not run here; what runs is ${Object.values(TRIGGERS).map(({ handler }) => handler).join(' and ')}.`);
  }
  const does = exported.length > 1 ? 'exports the handlers of both triggers' : 'exports no handler that can be seen';
  throw new CommandError(`${codeFile} ${does}: name the trigger by --trigger pre-user-registration or --trigger post-user-registration.`);
}

function notesOn({ action, modules, event, secrets }: RunInput, workingDir: string): string[] {
  const notes: string[] = [];
  for (const name of action.definition === null ? [] : missingModules(action.definition, modules)) notes.push(`The module ${name} is not in the folder action-modules of the export.`);
  for (const { text, file, line } of [action, ...modules].flatMap(({ keywords }) => keywords)) notes.push(`${shownPath(file, workingDir)}:${line} holds the keyword ${text}, which the deploy CLI replaces and this run does not.`);
  const expected = action.definition === null ? undefined : [...new Set([action, ...modules].flatMap(({ definition }) => definition?.secrets.map(({ name }) => name) ?? []))];
  const missing = expected?.filter((name) => !Object.hasOwn(secrets, name)) ?? [];
  if (missing.length > 0) notes.push(`No value is given for the secret${missing.length > 1 ? 's' : ''} ${missing.join(', ')}: give a file by --secrets.`);
  const extra = expected === undefined ? [] : Object.keys(secrets).filter((name) => !expected.includes(name));
  if (extra.length > 0) notes.push(`Not named in ${shownPath(action.definitionFile ?? '', workingDir)}, so not there once deployed: ${extra.join(', ')}.`);
  if (event !== null && Object.keys(event['secrets'] ?? {}).length > 0) notes.push('The secrets in the event are not used: give them by --secrets.');
  return notes;
}
