import { createDocument } from 'zod-openapi';
import { SCOPES } from '../domain/scopes.ts';
import type { Endpoint } from './endpoint.ts';
import { ERRORS } from './schema/errors.ts';

type Document = ReturnType<typeof createDocument>;
type Responses = NonNullable<NonNullable<NonNullable<Parameters<typeof createDocument>[0]['paths']>[string]['get']>['responses']>;

const DESCRIPTION = `The part of Auth0's Management and Authentication API that Usher has. What is marked \`x-usher\` is ours; what
of Auth0 is not here stands in docs/not-here.md, what was chosen where Auth0's documents are silent in docs/auth0-choices.md.`;

const REASONS: Record<number, string> = {
  400: 'The request is not right.',
  401: 'No token, or one that is not valid.',
  403: 'Not allowed.',
  404: 'There is no such thing.',
  409: 'It contradicts what is there.',
  412: 'What is there does not allow it.',
};

/** The OpenAPI 3.1 document of the endpoints. */
export function createApiDocument(endpoints: readonly Endpoint[], version: string): Document {
  const paths: Record<string, Record<string, object>> = {};
  for (const endpoint of endpoints) (paths[endpoint.path] ??= {})[endpoint.method] = operation(endpoint);
  return createDocument({
    openapi: '3.1.1',
    info: { title: 'Usher', version, description: DESCRIPTION, license: { name: 'MIT', identifier: 'MIT' } },
    servers: [{ url: '/' }],
    paths,
    components: {
      securitySchemes: {
        secret: { type: 'http', scheme: 'basic', description: 'Id and secret of a client that was granted the scope.' },
        token: {
          type: 'oauth2',
          flows: { clientCredentials: { tokenUrl: '/oauth/token', scopes: Object.fromEntries(SCOPES.map((scope) => [scope, scope.replace(':', ' ').replaceAll('_', ' ')])) } },
        },
      },
    },
  }, {
    override: ({ jsonSchema, zodSchema }) => {
      // JavaScript's own bounds of a safe integer say nothing of the API.
      if (zodSchema._zod.def.type !== 'number') return;
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
    },
  });
}

function operation(endpoint: Endpoint): object {
  const { operationId, summary, description, tag, scopes, basic, params, query, headers, body, bodyTypes = ['application/json'], ours } = endpoint;
  return {
    operationId,
    summary,
    ...(description === undefined ? {} : { description }),
    tags: [tag],
    // Each one alone is enough.
    security: scopes === null ? [] : [...scopes.map((scope) => ({ token: [scope] })), ...(basic ? [{ secret: [] }] : [])],
    ...(params === undefined && query === undefined && headers === undefined
      ? {}
      : { requestParams: { ...(params && { path: params }), ...(query && { query }), ...(headers && { header: headers }) } }),
    ...(body === undefined ? {} : { requestBody: { required: !body.safeParse({}).success, content: contentOf(bodyTypes, body) } }),
    responses: responsesOf(endpoint),
    ...(ours === undefined ? {} : { 'x-usher': true }),
  };
}

function responsesOf(endpoint: Endpoint): Responses {
  const { scopes, params, query, headers, body, returns, returnsType = 'application/json', status, unavailable, empty, errors = [], errorShape = 'management' } = endpoint;
  const hasInput = params !== undefined || query !== undefined || headers !== undefined || body !== undefined;
  const statuses = new Set([...(hasInput ? [400] : []), ...(scopes === null ? [] : [401, 403]), ...errors]);
  const error = contentOf(['application/json'], ERRORS[errorShape]);
  const ok = status ?? (returns === undefined ? 204 : 200);
  return Object.fromEntries<object>([
    [String(ok), { description: 'It is done.', ...(returns === undefined ? {} : { content: contentOf([returnsType], returns) }) }],
    ...[...statuses].toSorted((a, b) => a - b).map((each): [string, object] => [String(each), { description: REASONS[each] ?? '', content: error }]),
    ...(empty === undefined ? [] : [['204', { description: empty }] as [string, object]]),
    ...(unavailable === undefined ? [] : [['503', { description: 'Not now.', content: contentOf([returnsType], unavailable) }] as [string, object]]),
    ['429', { description: 'Too many requests: wait as `Retry-After` says.', content: error }],
    ['default', { description: 'It could not be done.', content: error }],
  ]) as Responses;
}

function contentOf(types: readonly string[], schema: object): Record<string, object> {
  return Object.fromEntries(types.map((type) => [type, { schema }]));
}
