/** What stands at a path such as `identities[0].connection`; undefined where there is nothing. */
export function valueAt(user: unknown, path: string): unknown {
  return path.split(/[.[\]]+/).filter((key) => key !== '').reduce((value, key) => {
    const isThere = typeof value === 'object' && value !== null && Object.hasOwn(value, key);
    return isThere ? (value as Record<string, unknown>)[key] : undefined;
  }, user);
}
