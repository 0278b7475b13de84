import { Router } from 'express';
import { z } from 'zod';
import type { ActionStore } from '../store/actions.ts';
import type { VersionStore } from '../store/versions.ts';
import { actionAnswer, deployAnswer, listAnswer } from './actions-answers.ts';
import { CREATE_ACTION_BODY, DELETE_ACTION_QUERY, EMPTY, ID, LIST_ACTIONS_QUERY, readRuntime, readTrigger, UPDATE_ACTION_BODY } from './actions-schema.ts';
import type { Auth } from './auth.ts';
import { parseBody, parsePath, parseQuery } from './validation.ts';

export interface ActionsRoutesDeps {
  auth: Auth;
  actions: ActionStore;
  versions: VersionStore;
  /** Called when a draft has changed. */
  wakeBuilder: () => void;
}

const PATH = z.object({ id: ID });

/** Create, read, update, delete, list and deploy: `/actions` below `/api/v2/actions`. */
export function actionsRoutes({ auth, actions, versions, wakeBuilder }: ActionsRoutesDeps): Router {
  const router = Router();

  router.get('/actions', auth.requireScope('read:actions'), async (req, res) => {
    const { page, per_page: perPage, installed, ...filter } = parseQuery(LIST_ACTIONS_QUERY, req.query);
    const none = { total: 0, actions: [] };
    const { total, actions: found } = installed === true ? none : await actions.list(filter, { page, perPage });
    res.json(listAnswer('actions', found.map(actionAnswer), total, { page, perPage }));
  });

  router.post('/actions', auth.requireScope('create:actions'), async (req, res) => {
    parseQuery(EMPTY, req.query);
    const { supported_triggers: triggers, runtime, deploy, ...draft } = parseBody(CREATE_ACTION_BODY, req.body);
    const created = await actions.create({ ...draft, trigger: readTrigger(triggers), runtime: readRuntime(runtime) }, { deploy });
    wakeBuilder();
    res.status(201).json(actionAnswer(created));
  });

  router.get('/actions/:id', auth.requireScope('read:actions'), async (req, res) => {
    parseQuery(EMPTY, req.query);
    res.json(actionAnswer(await actions.find(parsePath(PATH, req.params).id)));
  });

  router.patch('/actions/:id', auth.requireScope('update:actions'), async (req, res) => {
    parseQuery(EMPTY, req.query);
    const { id } = parsePath(PATH, req.params);
    const { supported_triggers: triggers, runtime, ...draft } = parseBody(UPDATE_ACTION_BODY, req.body);
    const updated = await actions.update(id, {
      ...draft,
      trigger: triggers && readTrigger(triggers),
      runtime: runtime === undefined ? undefined : readRuntime(runtime),
    });
    wakeBuilder();
    res.json(actionAnswer(updated));
  });

  router.delete('/actions/:id', auth.requireScope('delete:actions'), async (req, res) => {
    const { force } = parseQuery(DELETE_ACTION_QUERY, req.query);
    await actions.remove(parsePath(PATH, req.params).id, { force });
    res.status(204).end();
  });

  router.post('/actions/:id/deploy', auth.requireScope('create:actions'), async (req, res) => {
    parseQuery(EMPTY, req.query);
    const { id } = parsePath(PATH, req.params);
    parseBody(EMPTY, req.body);
    res.json(deployAnswer(await versions.deployDraft(id)));
  });

  return router;
}
