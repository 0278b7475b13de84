import { z } from 'zod';
import type { Profile } from '../../registration/event.ts';

/** The form of `<input type=email>` (WHATWG), with at least one dot in the domain. */
const EMAIL = /^[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)+$/;

const toLowerCase = (text: string): string => text.toLowerCase();

/** Becomes lower case, as Auth0 keeps it. */
export const EMAIL_ADDRESS = z.email({ pattern: EMAIL }).max(254).transform(toLowerCase);

/** Becomes lower case, as Auth0 keeps it. */
export const USERNAME = z.string().min(1).max(128).regex(/^[a-zA-Z0-9_+\-.!#$'^`~@]+$/).transform(toLowerCase);

/** E.164. */
export const PHONE_NUMBER = z.string().regex(/^\+[0-9]{1,15}$/);

/** A profile's texts and their lengths: contract §4.5. */
export const PROFILE = {
  given_name: z.string().min(1).max(150),
  family_name: z.string().min(1).max(150),
  name: z.string().min(1).max(300),
  nickname: z.string().min(1).max(300),
  picture: z.url({ protocol: /^https?$/ }).max(2048),
};

export const PROFILE_FIELDS = Object.keys(PROFILE) as (keyof typeof PROFILE)[];

/** The part of a body that is a profile, without what is missing or null. */
export function profileIn(body: { [K in keyof Profile]?: string | null | undefined }): Profile {
  return Object.fromEntries(PROFILE_FIELDS.flatMap((field) => (body[field] == null ? [] : [[field, body[field]]])));
}
