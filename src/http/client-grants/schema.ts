import { z } from 'zod';
import { CLIENT_ID, FLAG } from '../schema/common.ts';
import { listQuery } from '../paging.ts';

const AUDIENCE = z.string().min(1).max(600);
const SCOPE = z.array(z.string().min(1).max(280)).max(1000);
const SUBJECT_TYPE = z.enum(['client', 'user']).describe('`client`: tokens of its own; `user`: tokens of the people who log in with it.');

/** Of these, only `allow_all_scopes` has an effect here. */
const KEPT = {
  organization_usage: z.enum(['deny', 'allow', 'require']).nullish(),
  allow_any_organization: z.boolean().nullish(),
  authorization_details_types: z.array(z.string().max(255)).max(100).nullish(),
  allow_all_scopes: z.boolean().nullish().describe('Every scope of the API, whatever `scope` says.'),
};

export const CREATE_GRANT = z.strictObject({
  client_id: CLIENT_ID,
  audience: AUDIENCE,
  scope: SCOPE.nullish(),
  subject_type: SUBJECT_TYPE.default('client'),
  ...KEPT,
});

export const UPDATE_GRANT = z.strictObject({ scope: SCOPE.nullish(), ...KEPT });

export const LIST_GRANTS_QUERY = listQuery(50).extend({
  audience: AUDIENCE.optional(),
  client_id: CLIENT_ID.optional(),
  subject_type: SUBJECT_TYPE.optional(),
  allow_any_organization: FLAG.optional().describe('There are no organizations: true gives none.'),
  default_for: z.enum(['third_party_clients']).optional().describe('There are no such grants.'),
});

export const GRANT = z
  .strictObject({
    id: z.string(),
    client_id: z.string(),
    audience: z.string(),
    scope: z.array(z.string()),
    subject_type: SUBJECT_TYPE,
    ...KEPT,
  })
  .meta({ id: 'ClientGrant' });
