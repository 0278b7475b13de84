import type { RunnableModule } from './invocation.ts';

/**
 * Makes a function that puts `[secret NAME]` in the place of every secret's value, also where it is written as JSON,
 * in a URL, or line by line. Values shorter than `minChars` stay: they would cut holes into ordinary words.
 *
 * Not found are values that were changed in another way (encoded in base64, cut, turned round).
 */
export function createMask(secrets: Record<string, unknown>, minChars: number): (text: string) => string {
  const nameOf = new Map<string, string>();
  for (const [name, value] of Object.entries(secrets)) {
    if (typeof value !== 'string') continue;
    for (const form of formsOf(value)) {
      if (form.length >= minChars && !nameOf.has(form)) nameOf.set(form, name);
    }
  }
  if (nameOf.size === 0) return (text) => text;
  // In one pass, so that a mask is not masked in turn; the longest first, as one value can hold another.
  const forms = [...nameOf.keys()].toSorted((a, b) => b.length - a.length);
  const pattern = new RegExp(forms.map(escaped).join('|'), 'g');
  return (text) => text.replaceAll(pattern, (form) => `[secret ${nameOf.get(form)}]`);
}

/** The secrets of an Action with those of its modules, which are named `<module>.<name>`. */
export function withModuleSecrets(own: Record<string, unknown>, modules: RunnableModule[] = []): Record<string, unknown> {
  const ofModules = modules.flatMap(({ name: module, secrets }) => Object.entries(secrets).map(([name, value]) => [`${module}.${name}`, value]));
  return { ...own, ...Object.fromEntries(ofModules) };
}

function formsOf(value: string): string[] {
  const lines = value.includes('\n') ? value.split('\n').map((line) => line.trim()) : [];
  return [value, ...lines].flatMap((text) => [text, JSON.stringify(text).slice(1, -1), encodeURIComponent(text.toWellFormed())]);
}

function escaped(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, String.raw`\$&`);
}
