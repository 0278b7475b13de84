import type { Client } from '@temporalio/client';
import { isGrpcServiceError } from '@temporalio/client';
import { defineSearchAttributeKey } from '@temporalio/common';

/** By what a registration can be found in the Web UI. Ids only: search attributes are never encrypted. */
export const SEARCH_ATTRIBUTES = {
  UsherConnection: defineSearchAttributeKey('UsherConnection', 'KEYWORD'),
  UsherUserId: defineSearchAttributeKey('UsherUserId', 'KEYWORD'),
};

export type SearchAttributeName = keyof typeof SEARCH_ATTRIBUTES;

export const SEARCH_ATTRIBUTE_NAMES = Object.keys(SEARCH_ATTRIBUTES) as SearchAttributeName[];

/** What a namespace has of ours, and for the rest the exact command that adds it. */
export interface SearchAttributesFound {
  available: SearchAttributeName[];
  missing: { name: SearchAttributeName; command: string }[];
}

const CALL_TIMEOUT_MS = 10_000;
/** `INDEXED_VALUE_TYPE_KEYWORD` of temporal.api.enums.v1. */
const KEYWORD = 2;
/** Not refused but failed: CANCELLED, DEADLINE_EXCEEDED, NOT_FOUND (the namespace), RESOURCE_EXHAUSTED, UNAVAILABLE. */
const NOT_REFUSED = new Set<number>([1, 4, 5, 8, 14]);

/**
 * Looks which search attributes the namespace has and adds those that it lacks, where the server lets us.
 *
 * @throws when Temporal cannot be reached; a refusal is no error but makes an attribute missing.
 */
export async function ensureSearchAttributes(client: Client): Promise<SearchAttributesFound> {
  const { namespace } = client.options;
  let has = await listed(client);
  const lacking = SEARCH_ATTRIBUTE_NAMES.filter((name) => !has.has(name));
  if (lacking.length > 0) {
    const searchAttributes = Object.fromEntries(lacking.map((name) => [name, KEYWORD]));
    await orNullIfRefused(client, () => client.connection.operatorService.addSearchAttributes({ namespace, searchAttributes }));
    // Asked again also after a refusal: another process may have been first.
    has = await listed(client);
  }
  return {
    available: SEARCH_ATTRIBUTE_NAMES.filter((name) => has.has(name)),
    missing: SEARCH_ATTRIBUTE_NAMES.filter((name) => !has.has(name)).map((name) => ({
      name,
      command: `temporal operator search-attribute create --namespace ${namespace} --name ${name} --type Keyword`,
    })),
  };
}

async function listed(client: Client): Promise<Set<string>> {
  const { namespace } = client.options;
  const answer = await orNullIfRefused(client, () => client.connection.operatorService.listSearchAttributes({ namespace }));
  const types = Object.entries<number>(answer?.customAttributes ?? {});
  return new Set(types.filter(([, type]) => type === KEYWORD).map(([name]) => name));
}

async function orNullIfRefused<T>(client: Client, request: () => Promise<T>): Promise<T | null> {
  try {
    return await client.withDeadline(Date.now() + CALL_TIMEOUT_MS, request);
  } catch (error) {
    if (!isGrpcServiceError(error) || NOT_REFUSED.has(error.code)) throw error;
    return null;
  }
}
