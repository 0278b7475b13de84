/**
 * Whether tests have to be skipped for want of a program that is not the project's own. Says so, unless every test has to
 * run: `.ci/run` sets `TEST_EVERYTHING`, since a green run that has skipped something would tell a lie.
 *
 * @param what - the tests.
 * @param missing - why they cannot run here; null when they can.
 * @throws with the reason when they cannot run and have to.
 */
export function mustSkip(what: string, missing: string | null): boolean {
  if (missing === null) return false;
  if (process.env['TEST_EVERYTHING']) throw new Error(`${what}: cannot be run, because ${missing}`);
  console.warn(`${what}: skipped, because ${missing}`);
  return true;
}
