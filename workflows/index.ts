/** The one entry of the workflow bundle; an exported name is a workflow type and is never renamed. */
export { userRegistration } from './user-registration.ts';
