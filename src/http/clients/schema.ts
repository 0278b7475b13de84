import { z } from 'zod';
import { CLIENT_ID, FIELDS_QUERY, FLAG } from '../schema/common.ts';
import { listQuery } from '../paging.ts';

const TEXT = z.string().max(2048).nullish();
const SWITCH = z.boolean().nullish();
const URLS = z.array(z.string().max(2048)).max(100).nullish();
const WORDS = z.array(z.string().max(255)).max(100).nullish();
const ANYTHING = z.record(z.string(), z.unknown()).nullish();

/** Auth0's properties of a client. What has no effect here is kept as it came, so that tools read back what they wrote. */
const PROPERTIES = {
  description: z.string().max(140).nullish(),
  logo_uri: TEXT,
  callbacks: URLS,
  oidc_logout: ANYTHING,
  oidc_backchannel_logout: ANYTHING,
  session_transfer: ANYTHING,
  allowed_origins: URLS.describe('Origins whose pages may call the Authentication API (CORS); `https://*.example.com` stands for one level.'),
  web_origins: URLS.describe('Like `allowed_origins`.'),
  client_aliases: WORDS,
  allowed_clients: WORDS,
  allowed_logout_urls: URLS,
  grant_types: WORDS.describe('Grants that it may use at the token endpoint.'),
  token_endpoint_auth_method: z.enum(['none', 'client_secret_post', 'client_secret_basic']).nullish(),
  is_token_endpoint_ip_header_trusted: SWITCH,
  app_type: z.string().regex(/^\w{1,64}$/).nullish(),
  is_first_party: SWITCH,
  oidc_conformant: SWITCH,
  jwt_configuration: ANYTHING,
  encryption_key: ANYTHING,
  sso: SWITCH,
  cross_origin_authentication: SWITCH,
  cross_origin_auth: SWITCH,
  cross_origin_loc: TEXT,
  sso_disabled: SWITCH,
  custom_login_page_on: SWITCH,
  custom_login_page: z.string().max(102_400).nullish(),
  custom_login_page_preview: z.string().max(102_400).nullish(),
  form_template: z.string().max(102_400).nullish(),
  addons: ANYTHING,
  mobile: ANYTHING,
  initiate_login_uri: TEXT,
  native_social_login: ANYTHING,
  fedcm_login: ANYTHING,
  refresh_token: ANYTHING,
  default_organization: ANYTHING,
  organization_usage: TEXT,
  organization_require_behavior: TEXT,
  organization_discovery_methods: WORDS,
  client_authentication_methods: ANYTHING,
  require_pushed_authorization_requests: SWITCH,
  require_proof_of_possession: SWITCH,
  signed_request_object: ANYTHING,
  token_vault_privileged_access: ANYTHING,
  compliance_level: TEXT,
  skip_non_verifiable_callback_uri_confirmation_prompt: SWITCH,
  token_exchange: ANYTHING,
  par_request_expiry: z.int().nullish(),
  token_quota: ANYTHING,
  resource_server_identifier: TEXT,
  identity_assertion_authorization_grant: ANYTHING,
  anonymous_sessions: ANYTHING,
  third_party_security_mode: TEXT,
  redirection_policy: TEXT,
  express_configuration: ANYTHING,
  b2b_integration_configuration: ANYTHING,
  my_organization_configuration: ANYTHING,
  async_approval_notification_channels: WORDS,
};

const NAME = z.string().min(1).max(255).regex(/^[^<>]*$/);
const SECRET = z.string().min(16).max(128);
/** At most 10 stay; those that are taken out (null) do not count. */
const METADATA = z.record(z.string().min(1).max(255), z.string().max(255).nullable()).meta({ maxProperties: 10 });

export const CREATE_CLIENT = z.strictObject({
  name: NAME,
  client_metadata: METADATA.nullish(),
  ...PROPERTIES,
  client_id: CLIENT_ID.optional().describe('Ours: the id that the client had elsewhere. Made when left out.'),
  client_secret: SECRET.optional().describe('Ours: the secret that the client had elsewhere. Made when left out.'),
});

export const UPDATE_CLIENT = z.strictObject({ name: NAME.optional(), client_secret: SECRET.optional(), client_metadata: METADATA.nullish(), ...PROPERTIES });

export const LIST_CLIENTS_QUERY = listQuery(50).extend({
  is_global: FLAG.optional().describe('There is no global client: true gives none.'),
  is_first_party: FLAG.optional(),
  app_type: z.string().max(255).optional().describe('Separated by commas.'),
  ...FIELDS_QUERY,
});

/** `client_secret` only for who may read it; `fields` leaves properties out. */
export const CLIENT = z
  .strictObject({
    client_id: z.string(),
    name: z.string(),
    client_secret: z.string(),
    client_metadata: z.record(z.string(), z.string()),
    ...PROPERTIES,
  })
  .partial()
  .meta({ id: 'Client' });

export const CLIENT_PATH = z.strictObject({ id: CLIENT_ID });
