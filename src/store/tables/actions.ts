import type { Generated } from 'kysely';

export type BuildStatus = 'pending' | 'building' | 'built' | 'failed';

/** An Action and its draft. */
export interface ActionTable {
  id: string;
  name: string;
  /** Lower-cased name, unique. */
  name_key: string;
  /** Any of Auth0's triggers; those that do not run here are stored all the same. */
  trigger_id: string;
  trigger_version: string;
  code: string;
  runtime: string;
  /** JSON `[{name, version}]`, as they were sent: `latest` stays. The exact versions are in the archive's lockfile. */
  dependencies: string;
  /** JSON `ModuleReference[]`: modules that the code may require. */
  modules: Generated<string>;
  /** JSON `[{name, updated_at}]`, times in nanoseconds as ISO text. */
  secret_names: string;
  /** JSON `{name: value}`; of what does not run here, some may lack their values. */
  secrets_sealed: string;
  key_id: string;
  build_status: BuildStatus;
  /** JSON `[{id, msg, url}]`: Auth0's ActionError. */
  build_errors: string;
  /** Grows with each change of the draft, so that a build that was overtaken is thrown away. */
  build_seq: number;
  build_claimed_until: number | null;
  built_at: string | null;
  archive_key: string | null;
  /** Id of the version to be made as soon as the build ends well (`deploy: true` on creation); answers show it already. */
  deploy_version_id: string | null;
  deployed_version_id: string | null;
  /** ISO text with nanoseconds, as Auth0 shows it. */
  created_at: string;
  updated_at: string;
}

/** An immutable version, made by a deploy. It outlives its Action while a step needs it. */
export interface ActionVersionTable {
  id: string;
  action_id: string;
  action_name: string;
  number: number;
  trigger_id: string;
  trigger_version: string;
  code: string;
  runtime: string;
  dependencies: string;
  modules: Generated<string>;
  secret_names: string;
  secrets_sealed: string;
  key_id: string;
  archive_key: string | null;
  built_at: string | null;
  created_at: string;
  updated_at: string;
}

/** An installed `node_modules` as one gzipped tar. */
export interface DependencyArchiveTable {
  /** SHA-256 over lockfile, Node major and platform. */
  key: string;
  lockfile: string;
  archive: Uint8Array;
  created_at: number;
}

export interface BindingTable {
  id: string;
  trigger_id: string;
  action_id: string;
  display_name: string;
  position: number;
  /** JSON `StepPolicy`; post-user-registration only. */
  policy: string;
  /** What a failure of the Action itself means; pre-user-registration only. */
  on_error: 'deny' | 'allow';
  /** Secrets of this binding alone, which win over the Action's; null: none. */
  secrets_id: Generated<string | null>;
  created_at: string;
  updated_at: string;
}

/** Secrets given to a binding: never changed, so that a step stays with those that it was pinned to. */
export interface BindingSecretsTable {
  id: string;
  binding_id: string;
  /** JSON `[{name, updated_at}]`. */
  secret_names: string;
  /** JSON `{name: value}`. */
  secrets_sealed: string;
  key_id: string;
  /** When `removeUnused` first saw that no binding has it any more. */
  unbound_at: number | null;
}

/** Code that Actions share, and its draft. */
export interface ActionModuleTable {
  id: string;
  name: string;
  /** Lower-cased name, unique. */
  name_key: string;
  code: string;
  /** JSON `[{name, version}]`. */
  dependencies: string;
  secret_names: string;
  secrets_sealed: string;
  key_id: string;
  created_at: string;
  updated_at: string;
}

/** An immutable version of a module, made by publishing it. */
export interface ActionModuleVersionTable {
  id: string;
  module_id: string;
  number: number;
  code: string;
  dependencies: string;
  secret_names: string;
  secrets_sealed: string;
  key_id: string;
  created_at: string;
}
