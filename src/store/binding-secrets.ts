import { newId } from '../domain/ids.ts';
import { mergeSecrets, sealSecrets, type SecretInput } from './action-secrets.ts';
import type { Queryable } from './database.ts';
import type { Keyring } from './keyring.ts';

/*
 * Secrets of a binding, which win over those of its Action. A set is never changed: a change makes a new one, so that a
 * step keeps those that it was pinned to. `removeUnused` takes away what no binding and no step needs.
 */

/** What a set of a binding's secrets is sealed as. */
function contextOf(id: string): string {
  return `binding_secrets/${id}`;
}

/**
 * Opens a set of a binding's secrets.
 *
 * @returns null when it is not in the store.
 */
export async function openBindingSecrets(keyring: Keyring, queryable: Queryable, id: string): Promise<Record<string, string> | null> {
  const row = await queryable.selectFrom('binding_secrets').select(['key_id', 'secrets_sealed']).where('id', '=', id).executeTakeFirst();
  if (row === undefined) return null;
  return await keyring.openJson(row.key_id, contextOf(id), row.secrets_sealed, queryable);
}

/**
 * Replaces the secrets of a binding.
 *
 * @param before - id of the set that it had.
 * @returns the id of the set that it has now: the same when nothing changes, null for no secrets at all.
 * @throws {ApiError} 400 when a secret has no value and none is stored.
 */
export async function replaceBindingSecrets(keyring: Keyring, tx: Queryable, options: { bindingId: string; given: SecretInput[]; before: string | null }): Promise<string | null> {
  const { bindingId, given, before } = options;
  const stored = before === null ? null : await openBindingSecrets(keyring, tx, before);
  const values = mergeSecrets(given, stored && new Map(Object.entries(stored)), { needValues: true });
  if (values === null) return before;
  if (values.size === 0) return null;
  const id = newId();
  const keyId = await keyring.newDataKey(tx);
  const sealed = await sealSecrets(keyring, tx, { context: contextOf(id), keyId }, values);
  await tx.insertInto('binding_secrets').values({ id, binding_id: bindingId, ...sealed, key_id: keyId, unbound_at: null }).execute();
  return id;
}
