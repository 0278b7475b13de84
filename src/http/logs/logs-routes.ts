import { z } from 'zod';
import { managementError } from '../../domain/api-error.ts';
import type { LogCondition, LogItem, LogStore } from '../../store/logs.ts';
import { type Route, route } from '../endpoint.ts';
import { selectFields } from '../select-fields.ts';
import { DATE, FIELDS_QUERY, pageQuery, TOTALS_QUERY } from '../schema/common.ts';

const ID = z.string().max(100);
const Q = z.string().max(2000).describe('The subset of Lucene that docs/user-search.md tells, on type, date, user_id, client_id, client_name, connection, connection_id, strategy and log_id.');

export const LOG_SORT = z.string().regex(/^date:(1|-1)$/).default('date:-1').describe('`date:1` or `date:-1`.');

/** Auth0's own (contract §4.7); `search` is its older name for `q`. */
const QUERY = pageQuery(50).extend({
  sort: LOG_SORT,
  q: Q.optional(),
  search: Q.optional(),
  ...FIELDS_QUERY,
  ...TOTALS_QUERY,
  from: ID.optional().describe('Checkpoint: entries after the one with this id, oldest first; those of the last 30 seconds are not among them yet.'),
  take: z.coerce.number().int().min(1).max(100).optional(),
});

/** An entry (contract §4.7). Each type has properties of its own, and `fields` leaves some out. */
const LOG = z
  .looseObject({ _id: z.string().optional(), log_id: z.string().optional(), date: DATE.optional(), type: z.string().optional() })
  .meta({ id: 'Log' });

/** A page of entries; with `include_totals` the object. */
export const LOG_LIST = z.union([
  z.array(LOG),
  z.strictObject({ start: z.int(), limit: z.int(), length: z.int(), total: z.int(), logs: z.array(LOG) }),
]);

/**
 * The tenant log.
 *
 * @param deps.search - the condition that `q` means; throws an `ApiError` for one that it cannot read.
 */
export function logsRoutes({ logs, search }: { logs: LogStore; search: (q: string) => LogCondition }): Route[] {
  const mayRead = ['read:logs', 'read:logs_users'] as const;
  return [
    route(
      {
        operationId: 'get_logs',
        method: 'get',
        path: '/api/v2/logs',
        summary: 'Search log entries',
        description: 'By page, or by checkpoint with `from` and `take`, which nothing else goes together with. By checkpoint, an entry is given once it is 30 seconds old: whoever goes on from the last one that he was given misses none that is written by several processes at once, as long as their clocks agree to a few seconds.',
        tag: 'logs',
        scopes: mayRead,
        query: QUERY,
        returns: LOG_LIST,
      },
      async ({ query }) => {
        const select = (items: LogItem[]) => items.map((item) => selectFields(item, query.fields, query.include_fields));
        if (query.from !== undefined || query.take !== undefined) return select(await logs.after(query.from ?? null, query.take ?? 50));
        const q = query.q ?? query.search ?? '';
        const condition = q.trim() === '' ? undefined : search(q);
        const start = query.page * query.per_page;
        const items = select(await logs.page({ limit: query.per_page, offset: start, order: query.sort === 'date:1' ? 'asc' : 'desc', condition }));
        if (!query.include_totals) return items;
        return { start, limit: query.per_page, length: items.length, total: await logs.count(condition), logs: items };
      },
    ),
    route(
      {
        operationId: 'get_logs_by_id',
        method: 'get',
        path: '/api/v2/logs/{id}',
        summary: 'Get a log entry',
        tag: 'logs',
        scopes: mayRead,
        params: z.strictObject({ id: ID }),
        returns: LOG,
        errors: [404],
      },
      async ({ params: { id } }) => {
        const item = await logs.find(id);
        if (item === null) throw managementError(404, 'That log entry does not exist.');
        return item;
      },
    ),
  ];
}
