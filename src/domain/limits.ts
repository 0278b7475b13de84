/** Auth0's limits (contract §3) and ours, in one place. */
export const LIMITS = {
  codeBytes: 100 * 1024,
  secretsPerAction: 30,
  secretNameChars: 128,
  secretValueChars: 4096,
  dependenciesPerAction: 10,
  actions: 100,
  bindingsPerTrigger: 20,
  versionsPerAction: 50,
  modules: 100,
  modulesPerAction: 3,
  versionsPerModule: 50,
  /** Console output kept of one attempt. */
  logBytes: 256 * 1024,
  /** Of one execution of pre-user-registration, all its Actions together. */
  preUserRegistrationMs: 20_000,
  requestBodyBytes: 1024 * 1024,
  /** The longest search that is allowed, each of its characters encoded for a URL, with the other parameters. */
  requestHeaderBytes: 128 * 1024,
  jsonDepth: 20,
  metadataBytes: 32 * 1024,
  /** Of a user, by the Management API, in each of its two kinds. */
  userMetadataBytes: 1024 * 1024,
} as const;
