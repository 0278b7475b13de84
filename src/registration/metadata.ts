import type { ApiCommand } from '../domain/invocation.ts';
import { LIMITS } from '../domain/limits.ts';
import type { Metadata } from './event.ts';

/** The metadata that a sign-up is to be committed with. */
export interface BothMetadata {
  userMetadata: Metadata;
  appMetadata: Metadata;
}

/** Applies what an Action set through `api.user`, in the order of its calls; `null` removes a key. */
export function applyMetadata(before: BothMetadata, commands: ApiCommand[]): BothMetadata {
  // Maps, and objects made from their entries, take a key like `__proto__` for a name and nothing more.
  const user = new Map(Object.entries(before.userMetadata));
  const app = new Map(Object.entries(before.appMetadata));
  for (const command of commands) {
    if (command.kind !== 'user.setUserMetadata' && command.kind !== 'user.setAppMetadata') continue;
    const metadata = command.kind === 'user.setUserMetadata' ? user : app;
    if (command.value === null || command.value === undefined) metadata.delete(command.key);
    else metadata.set(command.key, command.value);
  }
  return { userMetadata: Object.fromEntries(user), appMetadata: Object.fromEntries(app) };
}

/** The name of the metadata that is larger than a user may have, or null. */
export function oversizedMetadata({ userMetadata, appMetadata }: BothMetadata): string | null {
  if (sizeOf(userMetadata) > LIMITS.metadataBytes) return 'user_metadata';
  return sizeOf(appMetadata) > LIMITS.metadataBytes ? 'app_metadata' : null;
}

function sizeOf(metadata: Metadata): number {
  return Buffer.byteLength(JSON.stringify(metadata));
}
