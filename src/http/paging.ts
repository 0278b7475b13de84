import { z } from 'zod';
import type { Listed, Slice } from '../store/slice.ts';
import { CLIENT_ID, pageQuery, TOTALS_QUERY } from './schema/common.ts';

/** Auth0's default where a list is asked for from a checkpoint. */
const DEFAULT_TAKE = 50;

/** Parameters of a list that gives pages, or what comes after a checkpoint (`from`, `take`; the others are ignored then). */
export function listQuery(perPage: number) {
  return pageQuery(perPage).extend({
    ...TOTALS_QUERY,
    // Ids of clients have the widest form of all.
    from: CLIENT_ID.optional().describe('Checkpoint: the `next` of the answer before.'),
    take: z.coerce.number().int().min(1).max(100).optional(),
  });
}

type ListQuery = z.output<ReturnType<typeof listQuery>>;

/** The three forms of a list: an array, an object with totals, or an object with `next` while there is more. */
export function listOf<N extends string, S extends z.ZodType>(name: N, item: S) {
  const items = { [name]: z.array(item) } as { [K in N]: z.ZodArray<S> };
  return z.union([
    z.array(item),
    z.strictObject({ start: z.int(), limit: z.int(), length: z.int(), total: z.int(), ...items }),
    z.strictObject({ next: z.string().optional(), ...items }),
  ]);
}

/**
 * Answers a list as it was asked for.
 *
 * @param read gives a part of the list.
 * @param idOf the id that the list is sorted by.
 */
export async function answerList<N extends string, T, A>(
  name: N,
  query: ListQuery,
  { read, idOf, answer }: { read: (part: Slice) => Promise<Listed<T>>; idOf: (item: T) => string; answer: (item: T) => A },
) {
  if (query.from !== undefined || query.take !== undefined) {
    const limit = query.take ?? DEFAULT_TAKE;
    const { items } = await read({ limit: limit + 1, ...(query.from === undefined ? {} : { after: query.from }) });
    const page = items.slice(0, limit);
    const next = items.length > limit ? { next: idOf(page.at(-1)!) } : {};
    return { ...next, ...named(name, page.map(answer)) };
  }
  const start = query.page * query.per_page;
  const { items, total } = await read({ limit: query.per_page, offset: start });
  const answers = items.map(answer);
  if (!query.include_totals) return answers;
  return { start, limit: query.per_page, length: answers.length, total, ...named(name, answers) };
}

function named<N extends string, A>(name: N, items: A[]): { [K in N]: A[] } {
  return { [name]: items } as { [K in N]: A[] };
}
