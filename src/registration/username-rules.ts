import type { Connection } from '../store/connections.ts';

/** Why a connection does not take a username, or the lack of one. */
export type UsernameProblem = { kind: 'username-missing' } | { kind: 'username-length'; min: number; max: number };

/** Auth0's bounds where the connection does not say. */
const USERNAME_CHARS = { min: 1, max: 15 };

/** Holds a username against what the connection asks. Null: it is taken, also where the connection asks for none. */
export function findUsernameProblem({ options }: Pick<Connection, 'options'>, username: string | null): UsernameProblem | null {
  if (options.requires_username !== true) return null;
  if (username === null) return { kind: 'username-missing' };
  const { min = USERNAME_CHARS.min, max = USERNAME_CHARS.max } = options.validation?.username ?? {};
  return username.length < min || username.length > max ? { kind: 'username-length', min, max } : null;
}
