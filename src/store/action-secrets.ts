import { nowIsoNanos } from '../domain/ids.ts';
import { managementError } from '../domain/api-error.ts';
import type { Queryable } from './database.ts';
import type { Keyring } from './keyring.ts';
import type { Row } from './schema.ts';

/** A secret as a client sends it: without a value, the one that is stored under the name stays. */
export interface SecretInput {
  name: string;
  value?: string | undefined;
}

/** A set of secrets as it lies in a row. */
export type SealedSecrets = Pick<Row<'action'>, 'secret_names' | 'secrets_sealed'>;

/** How a set of secrets is sealed. */
interface Owner {
  context: string;
  keyId: string;
}

/** What the secrets of an Action are sealed as. The same for its draft and its versions, so that a deploy copies them sealed. */
export function secretsContext(actionId: string): string {
  return `action/${actionId}/secrets`;
}

/**
 * The set of secrets that replaces the one before, or the first one. As on Auth0, all of them get one stamp; when no
 * value changes, the stamps stay, so that sending what is there already changes nothing.
 *
 * @throws {ApiError} 400 when a secret has no value and none is stored.
 */
export async function replaceSecrets(keyring: Keyring, tx: Queryable, owner: Owner, given: SecretInput[], before: SealedSecrets | null): Promise<SealedSecrets> {
  const { keyId, context } = owner;
  const stored = before === null ? null : await keyring.openJson<Record<string, string>>(keyId, context, before.secrets_sealed, tx);
  const values = mergeSecrets(given, stored);
  if (before !== null && values === null) return { secret_names: before.secret_names, secrets_sealed: before.secrets_sealed };
  return await sealSecrets(keyring, tx, owner, values ?? new Map());
}

/**
 * The values of a set after a change; null when they are those that are stored.
 *
 * @throws {ApiError} 400 when a secret has no value and none is stored.
 */
export function mergeSecrets(given: SecretInput[], before: Record<string, string> | null): Map<string, string> | null {
  const stored = new Map(Object.entries(before ?? {}));
  const values = new Map(given.map(({ name, value = stored.get(name) }) => {
    if (value === undefined) throw managementError(400, `The secret ${name} needs a value: none is stored under this name. An export of the deploy CLI has no values: add them.`, 'invalid_body');
    return [name, value];
  }));
  const isSame = before !== null && values.size === stored.size && [...values].every(([name, value]) => stored.get(name) === value);
  return isSame ? null : values;
}

/** Seals a set of secrets under one stamp. */
export async function sealSecrets(keyring: Keyring, tx: Queryable, { context, keyId }: Owner, values: Map<string, string>): Promise<SealedSecrets> {
  const now = nowIsoNanos();
  return {
    secret_names: JSON.stringify([...values.keys()].map((name) => ({ name, updated_at: now }))),
    secrets_sealed: await keyring.sealJson(keyId, context, Object.fromEntries(values), tx),
  };
}
