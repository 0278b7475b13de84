import { Router } from 'express';
import { z } from 'zod';
import type { BindingStore } from '../store/bindings.ts';
import { bindingAnswer, listAnswer } from './actions-answers.ts';
import { BINDINGS_BODY, EMPTY, PAGE_QUERY, TRIGGER_ID } from './actions-schema.ts';
import { managementError } from '../domain/api-error.ts';
import type { Auth } from './auth.ts';
import { parseBody, parsePath, parseQuery } from './validation.ts';

const PATH = z.object({ triggerId: TRIGGER_ID });

/** What is bound to a trigger: `/triggers/{triggerId}/bindings` below `/api/v2/actions`. */
export function bindingsRoutes({ auth, bindings }: { auth: Auth; bindings: BindingStore }): Router {
  const router = Router();

  router.get('/triggers/:triggerId/bindings', auth.requireScope('read:actions'), async (req, res) => {
    const { page, per_page: perPage } = parseQuery(PAGE_QUERY, req.query);
    const { total, bindings: found } = await bindings.list(parsePath(PATH, req.params).triggerId, { page, perPage });
    res.json(listAnswer('bindings', found.map(bindingAnswer), total, { page, perPage }));
  });

  router.patch('/triggers/:triggerId/bindings', auth.requireScope('update:actions'), async (req, res) => {
    parseQuery(EMPTY, req.query);
    const { triggerId } = parsePath(PATH, req.params);
    const inputs = parseBody(BINDINGS_BODY, req.body).bindings.map(({ ref, display_name: displayName, usher }) => {
      refuseSetting(triggerId, 'pre-user-registration', 'on_error', usher.on_error);
      refuseSetting(triggerId, 'post-user-registration', 'on_failure', usher.on_failure);
      return { ref, displayName, onError: usher.on_error, onFailure: usher.on_failure };
    });
    res.json({ bindings: (await bindings.replace(triggerId, inputs)).map(bindingAnswer) });
  });

  return router;
}

/** A setting that would do nothing is refused, so that nobody relies on it. */
function refuseSetting(triggerId: string, where: string, name: string, value: string | undefined): void {
  if (value === undefined || triggerId === where) return;
  throw managementError(400, `usher.${name} is a setting of ${where} and does nothing for ${triggerId}.`, 'invalid_body');
}
