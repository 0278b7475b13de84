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

/** Values by name; undefined where only the name is known. */
type SecretValues = Map<string, string | undefined>;

/** What the secrets of an Action are sealed as. The same for its draft and its versions, so that a deploy copies them sealed. */
export function secretsContext(actionId: string): string {
  return `action/${actionId}/secrets`;
}

/**
 * The set of secrets that replaces the one before, or the first one. As on Auth0, all of them get one stamp; when no
 * value changes, the stamps stay, so that sending what is there already changes nothing.
 *
 * @param owner.runs false for what never runs here: of its secrets, those without a value are kept by their names.
 * @throws {ApiError} 400 when a secret has no value and none is stored.
 */
export async function replaceSecrets(keyring: Keyring, tx: Queryable, owner: Owner & { runs: boolean }, given: SecretInput[], before: SealedSecrets | null): Promise<SealedSecrets> {
  const { keyId, context, runs } = owner;
  let stored: SecretValues | null = null;
  if (before !== null) {
    const opened = new Map(Object.entries(await keyring.openJson<Record<string, string>>(keyId, context, before.secrets_sealed, tx)));
    stored = new Map(namesOf(before).map(({ name }) => [name, opened.get(name)]));
  }
  const values = mergeSecrets(given, stored, { needValues: runs });
  if (before !== null && values === null) return { secret_names: before.secret_names, secrets_sealed: before.secrets_sealed };
  return await sealSecrets(keyring, tx, owner, values ?? new Map());
}

/** A set of secrets as a client would send it to leave it as it is. */
export function namesOf({ secret_names: names }: Pick<SealedSecrets, 'secret_names'>): SecretInput[] {
  return (JSON.parse(names) as { name: string }[]).map(({ name }) => ({ name }));
}

/**
 * The values of a set after a change; null when they are those that are stored.
 *
 * @throws {ApiError} 400 when a secret has no value and none is stored, unless none is needed.
 */
export function mergeSecrets(given: SecretInput[], before: SecretValues | null, { needValues }: { needValues: boolean }): SecretValues | null {
  const stored = before ?? new Map<string, string>();
  const values = new Map(given.map(({ name, value = stored.get(name) }) => {
    if (value === undefined && needValues) throw managementError(400, `The secret ${name} needs a value: none is stored under this name. An export of the deploy CLI has no values: add them.`, 'invalid_body');
    return [name, value];
  }));
  const isSame = before !== null && values.size === stored.size && [...values].every(([name, value]) => stored.has(name) && stored.get(name) === value);
  return isSame ? null : values;
}

/** Seals a set of secrets under one stamp. */
export async function sealSecrets(keyring: Keyring, tx: Queryable, { context, keyId }: Owner, values: SecretValues): Promise<SealedSecrets> {
  const now = nowIsoNanos();
  return {
    secret_names: JSON.stringify([...values.keys()].map((name) => ({ name, updated_at: now }))),
    secrets_sealed: await keyring.sealJson(keyId, context, Object.fromEntries(values), tx),
  };
}
