/** Leaves the properties of `fields` (separated by commas), or with `include` false all others. */
export function selectFields<T extends object>(item: T, fields: string | undefined, include: boolean): Partial<T> {
  if (fields === undefined) return item;
  const named = new Set(fields.split(',').map((name) => name.trim()));
  return Object.fromEntries(Object.entries(item).filter(([name]) => named.has(name) === include)) as Partial<T>;
}
