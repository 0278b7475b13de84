import { z } from 'zod';
import { managementError } from '../../domain/api-error.ts';
import type { StepPolicy } from '../../domain/policy.ts';
import type { BindingStore } from '../../store/bindings.ts';
import { type Route, route } from '../endpoint.ts';
import { pageQuery } from '../schema/common.ts';
import { bindingAnswer, listAnswer } from './answers.ts';
import { changedPolicy } from './policy-settings.ts';
import { BINDINGS_BODY, TRIGGER_ID } from './requests.ts';
import { BINDING, listOf } from './schema.ts';

const PATH = '/api/v2/actions/triggers/{triggerId}/bindings';
const PARAMS = z.strictObject({ triggerId: TRIGGER_ID });

/** What is bound to a trigger. */
export function bindingsRoutes({ bindings }: { bindings: BindingStore }): Route[] {
  return [
    route(
      {
        operationId: 'get_bindings',
        method: 'get',
        path: PATH,
        summary: 'List what is bound to a trigger, in order',
        tag: 'actions',
        scopes: ['read:actions'],
        params: PARAMS,
        query: pageQuery(20),
        returns: listOf('bindings', BINDING),
      },
      async ({ params, query: { page, per_page: perPage } }) => {
        const { total, bindings: found } = await bindings.list(params.triggerId, { page, perPage });
        return listAnswer('bindings', found.map(bindingAnswer), total, { page, perPage });
      },
    ),
    route(
      {
        operationId: 'patch_bindings',
        method: 'patch',
        path: PATH,
        summary: 'Replace what is bound to a trigger',
        tag: 'actions',
        scopes: ['update:actions'],
        params: PARAMS,
        body: BINDINGS_BODY,
        returns: z.strictObject({ bindings: z.array(BINDING) }),
      },
      async ({ params: { triggerId }, body }) => {
        const inputs = body.bindings.map(({ ref, display_name: displayName, secrets, usher }, index) => {
          const { on_error: onError, runs_here: _asItWasRead, ...change } = usher;
          if (onError !== undefined) refuseElsewhere('on_error', 'pre-user-registration', triggerId);
          for (const name of Object.keys(change)) refuseElsewhere(name, 'post-user-registration', triggerId);
          return { ref, displayName, secrets, onError, policy: (before: StepPolicy) => changedPolicy(before, change, `bindings[${index}]`) };
        });
        return { bindings: (await bindings.replace(triggerId, inputs)).map(bindingAnswer) };
      },
    ),
  ];
}

/** A setting that would do nothing is refused, so that nobody relies on it. */
function refuseElsewhere(name: string, where: string, triggerId: string): void {
  if (triggerId === where) return;
  throw managementError(400, `usher.${name} is a setting of ${where} and does nothing for ${triggerId}.`, 'invalid_body');
}
