import { z } from 'zod';
import type { ModuleStore } from '../../store/modules.ts';
import { type Route, route } from '../endpoint.ts';
import { ID, ID_PATH, pageQuery } from '../schema/common.ts';
import { CREATE_MODULE_BODY, MODULE, MODULE_USES, MODULE_VERSION, MODULE_VERSIONS, moduleAnswer, moduleItem, MODULES, moduleVersionAnswer, ROLLBACK_BODY, UPDATE_MODULE_BODY } from './module-schema.ts';

const PATH = '/api/v2/actions/modules';

/** Code that Actions share, and its versions. */
export function modulesRoutes({ modules }: { modules: ModuleStore }): Route[] {
  return [...moduleRoutes(modules), ...moduleVersionRoutes(modules)];
}

function moduleRoutes(modules: ModuleStore): Route[] {
  return [
    route(
      { operationId: 'get_action_modules', method: 'get', path: PATH, summary: 'List modules', tag: 'actions', scopes: ['read:actions'], query: pageQuery(20), returns: MODULES },
      async ({ query: { page, per_page: perPage } }) => {
        const { total, modules: found } = await modules.list({ page, perPage });
        return { modules: found.map(moduleItem), total, page, per_page: perPage };
      },
    ),
    route(
      {
        operationId: 'post_action_module',
        method: 'post',
        path: PATH,
        summary: 'Create a module',
        tag: 'actions',
        scopes: ['create:actions'],
        body: CREATE_MODULE_BODY,
        status: 201,
        returns: MODULE,
        errors: [409],
      },
      async ({ body: { publish, api_version: _apiVersion, ...draft } }) => moduleAnswer(await modules.create(draft, { publish })),
    ),
    route(
      { operationId: 'get_action_module', method: 'get', path: `${PATH}/{id}`, summary: 'Get a module', tag: 'actions', scopes: ['read:actions'], params: ID_PATH, returns: MODULE, errors: [404] },
      async ({ params }) => moduleAnswer(await modules.find(params.id)),
    ),
    route(
      {
        operationId: 'patch_action_module',
        method: 'patch',
        path: `${PATH}/{id}`,
        summary: "Change a module's draft",
        tag: 'actions',
        scopes: ['update:actions'],
        params: ID_PATH,
        body: UPDATE_MODULE_BODY,
        returns: MODULE,
        errors: [404],
      },
      async ({ params, body }) => moduleAnswer(await modules.update(params.id, body)),
    ),
    route(
      { operationId: 'delete_action_module', method: 'delete', path: `${PATH}/{id}`, summary: 'Delete a module', tag: 'actions', scopes: ['delete:actions'], params: ID_PATH, errors: [404, 412] },
      async ({ params }) => {
        await modules.remove(params.id);
      },
    ),
    route(
      {
        operationId: 'get_action_module_actions',
        method: 'get',
        path: `${PATH}/{id}/actions`,
        summary: 'List the deployed Actions that use a module',
        tag: 'actions',
        scopes: ['read:actions'],
        params: ID_PATH,
        query: pageQuery(20),
        returns: MODULE_USES,
        errors: [404],
      },
      async ({ params, query: { page, per_page: perPage } }) => {
        const { total, uses } = await modules.listUses(params.id, { page, perPage });
        const actions = uses.map(({ action, reference }) => ({
          action_id: action.id,
          action_name: action.name,
          module_version_id: reference.module_version_id,
          module_version_number: reference.module_version_number,
          supported_triggers: [{ id: action.trigger_id, version: action.trigger_version }],
        }));
        return { actions, total, page, per_page: perPage };
      },
    ),
    route(
      {
        operationId: 'post_action_module_rollback',
        method: 'post',
        path: `${PATH}/{id}/rollback`,
        summary: "Make the content of a version a module's draft",
        tag: 'actions',
        scopes: ['update:actions'],
        params: ID_PATH,
        body: ROLLBACK_BODY,
        returns: MODULE,
        errors: [404],
      },
      async ({ params, body }) => moduleAnswer(await modules.rollback(params.id, body.module_version_id)),
    ),
  ];
}

function moduleVersionRoutes(modules: ModuleStore): Route[] {
  return [
    route(
      {
        operationId: 'get_action_module_versions',
        method: 'get',
        path: `${PATH}/{id}/versions`,
        summary: "List a module's versions",
        tag: 'actions',
        scopes: ['read:actions'],
        params: ID_PATH,
        query: pageQuery(20),
        returns: MODULE_VERSIONS,
        errors: [404],
      },
      async ({ params, query: { page, per_page: perPage } }) => {
        const { total, versions } = await modules.listVersions(params.id, { page, perPage });
        return { versions: versions.map(moduleVersionAnswer), total, page, per_page: perPage };
      },
    ),
    route(
      {
        operationId: 'post_action_module_version',
        method: 'post',
        path: `${PATH}/{id}/versions`,
        summary: "Publish a module's draft as a new version",
        tag: 'actions',
        scopes: ['update:actions'],
        params: ID_PATH,
        returns: MODULE_VERSION,
        errors: [404, 409, 412],
      },
      async ({ params }) => moduleVersionAnswer(await modules.publish(params.id)),
    ),
    route(
      {
        operationId: 'get_action_module_version',
        method: 'get',
        path: `${PATH}/{id}/versions/{versionId}`,
        summary: "Get one of a module's versions",
        tag: 'actions',
        scopes: ['read:actions'],
        params: z.strictObject({ id: ID, versionId: ID }),
        returns: MODULE_VERSION,
        errors: [404],
      },
      async ({ params: { id, versionId } }) => moduleVersionAnswer(await modules.findVersion(id, versionId)),
    ),
  ];
}
