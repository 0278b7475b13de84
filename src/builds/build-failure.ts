/** Why a build failed; the string is a contract: it is the `id` of Auth0's ActionError. */
export type BuildFailureId =
  | 'invalid_code'
  | 'dependency_not_found'
  | 'dependency_not_allowed'
  | 'dependency_conflict'
  | 'native_dependency'
  | 'dependencies_too_large'
  | 'registry_unavailable'
  | 'install_timed_out'
  | 'disk_unavailable'
  | 'install_failed';

/** One entry of an Action's build errors, as Auth0 names its fields. */
export interface BuildError {
  id: BuildFailureId;
  msg: string;
  url: string;
}

/** A draft cannot be built, and building it again as it is would not help, unless the registry was at fault. */
export class BuildFailure extends Error {
  readonly id: BuildFailureId;

  constructor(id: BuildFailureId, message: string) {
    super(message);
    this.name = 'BuildFailure';
    this.id = id;
  }
}
