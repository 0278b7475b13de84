const POLL_MS = 50;

/**
 * Waits until `find` gives something other than null, undefined or false, and returns that.
 *
 * @param what names the condition for the error when it does not come within `limitMs`.
 */
export async function until<T>(what: string, find: () => T | Promise<T>, limitMs = 90_000): Promise<NonNullable<Exclude<T, false>>> {
  const giveUpAt = performance.now() + limitMs;
  for (;;) {
    const found = await find();
    if (found !== null && found !== undefined && found !== false) return found as NonNullable<Exclude<T, false>>;
    if (performance.now() > giveUpAt) throw new Error(`Not within ${limitMs / 1000} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
