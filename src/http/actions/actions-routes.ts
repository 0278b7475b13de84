import type { ActionStore } from '../../store/actions.ts';
import type { VersionStore } from '../../store/versions.ts';
import { type Route, route } from '../endpoint.ts';
import { ID_PATH } from '../schema/common.ts';
import { actionAnswer, deployAnswer, listAnswer } from './answers.ts';
import { CREATE_ACTION_BODY, DELETE_ACTION_QUERY, LIST_ACTIONS_QUERY, readTrigger, UPDATE_ACTION_BODY } from './requests.ts';
import { ACTION, ACTION_VERSION, listOf } from './schema.ts';

export interface ActionsRoutesDeps {
  actions: ActionStore;
  versions: VersionStore;
  /** Called when a draft has changed. */
  wakeBuilder: () => void;
}

const PATH = '/api/v2/actions/actions';

/** Create, read, update, delete, list and deploy Actions. */
export function actionsRoutes({ actions, versions, wakeBuilder }: ActionsRoutesDeps): Route[] {
  return [
    route(
      {
        operationId: 'get_actions',
        method: 'get',
        path: PATH,
        summary: 'List Actions',
        tag: 'actions',
        scopes: ['read:actions'],
        query: LIST_ACTIONS_QUERY,
        returns: listOf('actions', ACTION),
      },
      async ({ query: { page, per_page: perPage, installed, ...filter } }) => {
        const none = { total: 0, actions: [] };
        const { total, actions: found } = installed === true ? none : await actions.list(filter, { page, perPage });
        return listAnswer('actions', found.map(actionAnswer), total, { page, perPage });
      },
    ),
    route(
      {
        operationId: 'post_action',
        method: 'post',
        path: PATH,
        summary: 'Create an Action',
        tag: 'actions',
        scopes: ['create:actions'],
        body: CREATE_ACTION_BODY,
        status: 201,
        returns: ACTION,
        errors: [409],
      },
      async ({ body: { supported_triggers: triggers, deploy, ...draft } }) => {
        const created = await actions.create({ ...draft, trigger: readTrigger(triggers) }, { deploy });
        wakeBuilder();
        return actionAnswer(created);
      },
    ),
    route(
      {
        operationId: 'get_action',
        method: 'get',
        path: `${PATH}/{id}`,
        summary: 'Get an Action',
        tag: 'actions',
        scopes: ['read:actions'],
        params: ID_PATH,
        returns: ACTION,
        errors: [404],
      },
      async ({ params }) => actionAnswer(await actions.find(params.id)),
    ),
    route(
      {
        operationId: 'patch_action',
        method: 'patch',
        path: `${PATH}/{id}`,
        summary: "Change an Action's draft",
        tag: 'actions',
        scopes: ['update:actions'],
        params: ID_PATH,
        body: UPDATE_ACTION_BODY,
        returns: ACTION,
        errors: [404, 409],
      },
      async ({ params, body: { supported_triggers: triggers, ...draft } }) => {
        const updated = await actions.update(params.id, { ...draft, trigger: triggers && readTrigger(triggers) });
        wakeBuilder();
        return actionAnswer(updated);
      },
    ),
    route(
      {
        operationId: 'delete_action',
        method: 'delete',
        path: `${PATH}/{id}`,
        summary: 'Delete an Action',
        tag: 'actions',
        scopes: ['delete:actions'],
        params: ID_PATH,
        query: DELETE_ACTION_QUERY,
        errors: [404, 409],
      },
      async ({ params, query }) => {
        await actions.remove(params.id, query);
      },
    ),
    route(
      {
        operationId: 'post_deploy_action',
        method: 'post',
        path: `${PATH}/{id}/deploy`,
        summary: "Deploy an Action's draft as a new version",
        tag: 'actions',
        scopes: ['create:actions'],
        params: ID_PATH,
        returns: ACTION_VERSION,
        errors: [404],
      },
      async ({ params }) => deployAnswer(await versions.deployDraft(params.id)),
    ),
  ];
}
