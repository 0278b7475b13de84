import { BuildFailure } from '../../builds/build-failure.ts';
import { LIMITS } from '../../domain/limits.ts';
import { isTriggerId } from '../../domain/triggers.ts';
import { checkAction } from './check-action.ts';
import type { PackagesCheck, PackagesChecker } from './check-packages.ts';
import { missingModules, withThoseOfModules } from '../module-files.ts';
import type { ExportedAction, ExportFolder } from './export-folder.ts';
import type { Hint } from './hint.ts';

/** What `usher check` says about one Action. */
export interface CheckedAction {
  name: string;
  file: string;
  /** As its file names it; null when it names none or cannot be read. */
  trigger: string | null;
  runsHere: boolean;
  /** Why it does not run here. */
  reasons: string[];
  /** Its place among the bound Actions of its trigger, from 1; null when it is not bound. */
  position: number | null;
  hints: Hint[];
}

/** What `usher check` says about an export. */
export interface CheckedExport {
  actions: CheckedAction[];
  /** What concerns no single Action. */
  notes: string[];
  /** All Actions of the two registration triggers will run, and what is bound to them is there. */
  ok: boolean;
}

/** Checks every Action of an export, one after the other. */
export async function checkExport({ actions, bindings }: ExportFolder, packages: PackagesChecker): Promise<CheckedExport> {
  const notes: string[] = [];
  const checked: CheckedAction[] = [];
  let registryAnswered = true;
  for (const exported of actions) {
    const result = checkOne(exported, bindings);
    checked.push(result);
    if (result.trigger === null || !isTriggerId(result.trigger)) continue;
    const answer = await checkPackages(exported, packages);
    if (answer === null) registryAnswered = false;
    else if ('problem' in answer) result.reasons.push(answer.problem.replace(/\.$/, ''));
    else result.hints.push(...answer.withInstallScripts.map((name) => installScriptHint(name, exported.definitionFile)));
    result.runsHere = result.reasons.length === 0;
  }
  if (!registryAnswered) notes.push('The npm registry cannot be reached: dependencies were not checked, nor which packages have install scripts.');
  const broken = [...brokenBindings(actions, bindings), ...brokenByModules(actions)];
  notes.push(...broken, ...tooMany(actions, bindings));
  const ok = broken.length === 0 && checked.every(({ runsHere, trigger }) => runsHere || (trigger !== null && !isTriggerId(trigger)));
  return { actions: checked, notes, ok };
}

function checkOne({ definitionFile, action, modules, problem }: ExportedAction, bindings: ExportFolder['bindings']): CheckedAction {
  const definition = action?.definition ?? null;
  if (action === null || definition === null) {
    return { name: definitionFile, file: definitionFile, trigger: null, runsHere: false, reasons: [problem ?? 'it cannot be read'], position: null, hints: [] };
  }
  const { reasons, hints } = checkAction({ ...action, definition }, modules);
  const trigger = definition.supported_triggers[0]?.id ?? null;
  const index = trigger === null ? -1 : (bindings[trigger]?.indexOf(action.name) ?? -1);
  return { name: action.name, file: action.codeFile, trigger, runsHere: reasons.length === 0, reasons, position: index === -1 ? null : index + 1, hints };
}

/** What the registry says about the packages of an Action and its modules. */
async function checkPackages({ action, modules }: ExportedAction, packages: PackagesChecker): Promise<PackagesCheck | null> {
  try {
    const dependencies = withThoseOfModules(action?.definition?.dependencies ?? [], modules);
    return dependencies.length === 0 ? { resolved: [], withInstallScripts: [] } : await packages.check(dependencies);
  } catch (error) {
    if (!(error instanceof BuildFailure)) throw error;
    return { problem: error.message };
  }
}

function installScriptHint(name: string, file: string): Hint {
  return { rule: 'install-script', file, line: 1, message: `${name} has an install script, which is not run: if it compiles or downloads something, the package does not work. Try it by usher action run.` };
}

/** Bindings that an import would refuse, and all others of their trigger with them. */
function brokenBindings(actions: ExportedAction[], bindings: ExportFolder['bindings']): string[] {
  const byName = new Map(actions.map(({ action }) => [action?.name, action?.definition]));
  return Object.entries(bindings).filter(([trigger]) => isTriggerId(trigger)).flatMap(([trigger, bound]) =>
    bound.flatMap((name) => {
      const definition = byName.get(name);
      if (definition === undefined) return [`"${name}" is bound to ${trigger}, but is not in the export: the bindings cannot be imported.`];
      if (definition?.deployed === false) return [`"${name}" is bound to ${trigger}, but its file says "deployed": false: deploy it and export again, or the bindings cannot be imported.`];
      return [];
    }));
}

/** Actions that are only kept here, and cannot be imported for want of a module. Of those that run here, it is a reason. */
function brokenByModules(actions: ExportedAction[]): string[] {
  return actions.flatMap(({ action, modules }) => {
    const [trigger] = action?.definition?.supported_triggers ?? [];
    if (!action?.definition || trigger === undefined || isTriggerId(trigger.id)) return [];
    return missingModules(action.definition, modules).map((name) => `"${action.name}" uses the module ${name}, which is not in the export, and cannot be imported: export again with "actionModules" included.`);
  });
}

function tooMany(actions: ExportedAction[], bindings: ExportFolder['bindings']): string[] {
  const notes = actions.length > LIMITS.actions ? [`There are ${actions.length} Actions; ${LIMITS.actions} are the limit.`] : [];
  for (const [trigger, bound] of Object.entries(bindings)) {
    if (bound.length > LIMITS.bindingsPerTrigger) notes.push(`${bound.length} Actions are bound to ${trigger}; ${LIMITS.bindingsPerTrigger} are the limit.`);
  }
  return notes;
}
