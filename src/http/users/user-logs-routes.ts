import { type LogStore, logsOfUser } from '../../store/logs.ts';
import { type Route, route } from '../endpoint.ts';
import { LOG_LIST, LOG_SORT } from '../logs/logs-routes.ts';
import { pageQuery, TOTALS_QUERY } from '../schema/common.ts';
import { USER_PATH } from './requests.ts';

/** What the tenant log has of a user, also of one that is gone. */
export function userLogsRoutes({ logs }: { logs: LogStore }): Route[] {
  return [
    route(
      {
        operationId: 'get_logs_by_user',
        method: 'get',
        path: '/api/v2/users/{id}/logs',
        summary: "List a user's log entries",
        tag: 'users',
        scopes: ['read:logs', 'read:logs_users'],
        params: USER_PATH,
        query: pageQuery(50).extend({ sort: LOG_SORT, ...TOTALS_QUERY }),
        returns: LOG_LIST,
      },
      async ({ params, query: { page, per_page: limit, sort, include_totals: totals } }) => {
        const condition = logsOfUser(params.id);
        const start = page * limit;
        const items = await logs.page({ limit, offset: start, order: sort === 'date:1' ? 'asc' : 'desc', condition });
        if (!totals) return items;
        return { start, limit, length: items.length, total: await logs.count(condition), logs: items };
      },
    ),
  ];
}
