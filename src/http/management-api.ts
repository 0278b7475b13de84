import type { Request } from 'express';
import { MANAGEMENT_AUDIENCE } from '../store/clients.ts';
import { isManagementAudience } from './auth.ts';
import { issuerOf } from './issuer.ts';

/** The identifier of our Management API, under the domain at which it is called: `https://tenant.example/api/v2/`. */
export function managementIdentifier(req: Request): string {
  return `${issuerOf(req, null)}api/v2/`;
}

/** As the store has an audience: our Management API is the same one under each domain. */
export function storedAudience(audience: string): string {
  return isManagementAudience(audience) ? MANAGEMENT_AUDIENCE : audience;
}

/** As answers show it. */
export function shownAudience(audience: string, req: Request): string {
  return audience === MANAGEMENT_AUDIENCE ? managementIdentifier(req) : audience;
}
