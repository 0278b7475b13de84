import { Router } from 'express';
import { z } from 'zod';
import type { VersionStore } from '../store/versions.ts';
import { deployAnswer, listAnswer, versionAnswer } from './actions-answers.ts';
import { DEPLOY_VERSION_BODY, EMPTY, ID, PAGE_QUERY } from './actions-schema.ts';
import type { Auth } from './auth.ts';
import { parseBody, parsePath, parseQuery } from './validation.ts';

const LIST_PATH = z.object({ actionId: ID });
const PATH = z.object({ actionId: ID, id: ID });

/** Versions of an Action: `/actions/{actionId}/versions` below `/api/v2/actions`. */
export function versionsRoutes({ auth, versions }: { auth: Auth; versions: VersionStore }): Router {
  const router = Router();

  router.get('/actions/:actionId/versions', auth.requireScope('read:actions'), async (req, res) => {
    const { page, per_page: perPage } = parseQuery(PAGE_QUERY, req.query);
    const { total, versions: found } = await versions.list(parsePath(LIST_PATH, req.params).actionId, { page, perPage });
    res.json(listAnswer('versions', found.map(versionAnswer), total, { page, perPage }));
  });

  router.get('/actions/:actionId/versions/:id', auth.requireScope('read:actions'), async (req, res) => {
    parseQuery(EMPTY, req.query);
    const { actionId, id } = parsePath(PATH, req.params);
    res.json(versionAnswer(await versions.find(actionId, id)));
  });

  router.post('/actions/:actionId/versions/:id/deploy', auth.requireScope('create:actions'), async (req, res) => {
    parseQuery(EMPTY, req.query);
    const { actionId, id } = parsePath(PATH, req.params);
    const { update_draft: updateDraft } = parseBody(DEPLOY_VERSION_BODY, req.body);
    res.json(deployAnswer(await versions.deployVersion(actionId, id, { updateDraft })));
  });

  return router;
}
