import { z } from 'zod';
import type { VersionStore } from '../../store/versions.ts';
import { type Route, route } from '../endpoint.ts';
import { ID, pageQuery } from '../schema/common.ts';
import { deployAnswer, listAnswer, versionAnswer } from './answers.ts';
import { DEPLOY_VERSION_BODY } from './requests.ts';
import { ACTION_VERSION, listOf } from './schema.ts';

const PATH = '/api/v2/actions/actions/{actionId}/versions';
const IDS = z.strictObject({ actionId: ID, id: ID });

/** Versions of an Action. */
export function versionsRoutes({ versions }: { versions: VersionStore }): Route[] {
  return [
    route(
      {
        operationId: 'get_action_versions',
        method: 'get',
        path: PATH,
        summary: "List an Action's versions",
        tag: 'actions',
        scopes: ['read:actions'],
        params: z.strictObject({ actionId: ID }),
        query: pageQuery(20),
        returns: listOf('versions', ACTION_VERSION),
        errors: [404],
      },
      async ({ params, query: { page, per_page: perPage } }) => {
        const { total, versions: found } = await versions.list(params.actionId, { page, perPage });
        return listAnswer('versions', found.map(versionAnswer), total, { page, perPage });
      },
    ),
    route(
      {
        operationId: 'get_action_version',
        method: 'get',
        path: `${PATH}/{id}`,
        summary: "Get one of an Action's versions",
        tag: 'actions',
        scopes: ['read:actions'],
        params: IDS,
        returns: ACTION_VERSION,
        errors: [404],
      },
      async ({ params: { actionId, id } }) => versionAnswer(await versions.find(actionId, id)),
    ),
    route(
      {
        operationId: 'post_deploy_draft_version',
        method: 'post',
        path: `${PATH}/{id}/deploy`,
        summary: 'Deploy a version again: roll back',
        tag: 'actions',
        scopes: ['create:actions'],
        params: IDS,
        body: DEPLOY_VERSION_BODY,
        returns: ACTION_VERSION,
        errors: [404],
      },
      async ({ params: { actionId, id }, body }) => deployAnswer(await versions.deployVersion(actionId, id, { updateDraft: body.update_draft })),
    ),
  ];
}
