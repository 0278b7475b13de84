import { Router } from 'express';
import { z } from 'zod';
import type { LogItem, LogStore } from '../store/logs.ts';
import { managementError } from '../domain/api-error.ts';
import type { Auth } from './auth.ts';
import { parsePath, parseQuery } from './validation.ts';

const flag = z.enum(['true', 'false']).transform((text) => text === 'true');

/** Parameters of Auth0's `GET /logs`, without `q` and `search`: what is not here is refused, not ignored. */
const QUERY = z.strictObject({
  page: z.coerce.number().int().min(0).max(10_000).default(0),
  per_page: z.coerce.number().int().min(1).max(100).default(50),
  /** `date:1` or `date:-1`. */
  sort: z.string().regex(/^date:(1|-1)$/).default('date:-1'),
  fields: z.string().max(1000).optional(),
  include_fields: flag.default(true),
  include_totals: flag.default(false),
  /** Checkpoint: entries after the one with this id, oldest first. */
  from: z.string().max(100).optional(),
  take: z.coerce.number().int().min(1).max(100).optional(),
});

/** `GET /api/v2/logs` and `/logs/{id}`; contract §4.7. */
export function logsRoutes({ auth, logs }: { auth: Auth; logs: LogStore }): Router {
  const router = Router();
  const mayRead = auth.requireScope('read:logs', 'read:logs_users');

  router.get('/logs', mayRead, async (req, res) => {
    const query = parseQuery(QUERY, req.query);
    const select = (items: LogItem[]): object[] => items.map((item) => selectFields(item, query.fields, query.include_fields));
    if (query.from !== undefined || query.take !== undefined) {
      res.json(select(await logs.after(query.from ?? null, query.take ?? 50)));
      return;
    }
    const start = query.page * query.per_page;
    const items = select(await logs.page({ limit: query.per_page, offset: start, order: query.sort === 'date:1' ? 'asc' : 'desc' }));
    if (!query.include_totals) {
      res.json(items);
      return;
    }
    res.json({ start, limit: query.per_page, length: items.length, total: await logs.count(), logs: items });
  });

  router.get('/logs/:id', mayRead, async (req, res) => {
    const { id } = parsePath(z.object({ id: z.string().max(100) }), req.params);
    const item = await logs.find(id);
    if (item === null) throw managementError(404, 'That log entry does not exist.');
    res.json(item);
  });

  return router;
}

function selectFields(item: LogItem, fields: string | undefined, include: boolean): object {
  if (fields === undefined) return item;
  const named = new Set(fields.split(','));
  return Object.fromEntries(Object.entries(item).filter(([name]) => named.has(name) === include));
}
