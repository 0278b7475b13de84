import { z } from 'zod';
import type { ImportFailure } from '../../domain/job.ts';
import { unsafeText } from '../../domain/unsafe-text.ts';
import type { ReadUser } from '../../jobs/users-import.ts';
import { EMAIL_ADDRESS, PHONE_NUMBER, PROFILE, profileIn, USERNAME } from '../schema/user.ts';
import { textOf } from '../validation.ts';

/** More rounds would let an import make every login of a user slow; Auth0's own hashes have 10. */
const BCRYPT = /^\$2[aby]\$(0[4-9]|1[0-5])\$[./A-Za-z0-9]{53}$/;
/** PHC texts of argon2; the memory is in KiB. */
const ARGON2 = /^\$argon2(?:id|i|d)\$v=(?:16|19)\$m=(\d{1,6}),t=([1-9]\d?),p=([1-9]\d?)\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{16,172})$/;
const MAX_ARGON2_KIB = 262_144;

/** Source: Auth0's schema of the file. */
const APP_METADATA_RESERVED = [
  '__tenant', '_id', 'blocked', 'clientID', 'created_at', 'email_verified', 'email', 'globalClientID', 'global_client_id', 'identities',
  'lastIP', 'lastLogin', 'loginsCount', 'metadata', 'multifactor_last_modified', 'multifactor', 'updated_at', 'user_id',
];

const METADATA = z.record(z.string(), z.unknown());

const ENTRY = z.strictObject({
  email: EMAIL_ADDRESS.optional(),
  email_verified: z.boolean().optional(),
  phone_number: PHONE_NUMBER.optional(),
  phone_verified: z.boolean().optional(),
  username: USERNAME.optional(),
  user_id: z.string().min(1).max(255).regex(/^\S+$/).optional(),
  given_name: PROFILE.given_name.optional(),
  family_name: PROFILE.family_name.optional(),
  name: PROFILE.name.optional(),
  nickname: PROFILE.nickname.optional(),
  picture: PROFILE.picture.optional(),
  blocked: z.boolean().optional(),
  password_hash: z.string().regex(BCRYPT).optional(),
  custom_password_hash: z
    .looseObject({ algorithm: z.enum(['argon2', 'bcrypt', 'hmac', 'ldap', 'md4', 'md5', 'sha1', 'sha256', 'sha512', 'pbkdf2', 'scrypt']), hash: z.looseObject({ value: z.string().max(1024), encoding: z.string().optional() }) })
    .optional(),
  app_metadata: METADATA.optional(),
  user_metadata: METADATA.optional(),
  mfa_factors: z.array(z.unknown()).optional(),
});

type Entry = z.output<typeof ENTRY>;
type Problem = ImportFailure['errors'][number];

/** What a user of a connection cannot be without. */
const IDENTIFIERS: Record<string, ('email' | 'username' | 'phone_number')[]> = { auth0: ['email', 'username'], email: ['email'], sms: ['phone_number'] };

/** Reads an entry of an import's file: Auth0's schema, as far as there is something here that it can be kept in. */
export const readUser: ReadUser = (json, strategy) => {
  const unsafe = unsafeText(json);
  if (unsafe !== null) return failure({}, [{ code: 'FORMAT', message: `The user ${unsafe}.`, path: '' }]);
  const parsed = ENTRY.safeParse(json, { reportInput: true });
  if (!parsed.success) return failure(json, parsed.error.issues.map(problemOf));
  const entry = parsed.data;
  const problems = problemsIn(entry, strategy);
  if (problems.length > 0) return failure(json, problems);
  return {
    user: {
      id: withoutProvider(entry.user_id, strategy) || undefined,
      email: entry.email ?? null,
      username: entry.username ?? null,
      phoneNumber: entry.phone_number ?? null,
      emailVerified: entry.email_verified,
      phoneVerified: entry.phone_verified,
      blocked: entry.blocked,
      profile: profileIn(entry),
      userMetadata: entry.user_metadata,
      appMetadata: entry.app_metadata,
      passwordHash: entry.password_hash ?? entry.custom_password_hash?.hash.value ?? null,
      isCustomHash: entry.custom_password_hash !== undefined,
    },
  };
};

function failure(json: unknown, errors: Problem[]): { failure: ImportFailure } {
  const user = typeof json === 'object' && json !== null && !Array.isArray(json) ? (json as Record<string, unknown>) : {};
  return { failure: { user, errors } };
}

/** What the schema cannot say. */
function problemsIn(entry: Entry, strategy: string): Problem[] {
  const problems: Problem[] = [];
  const identifiers = IDENTIFIERS[strategy] ?? [];
  if (!identifiers.some((field) => entry[field] !== undefined)) {
    problems.push({ code: 'ANY_OF_MISSING', message: `Missing required property: ${identifiers.join(' or ')}`, path: '' });
  }
  for (const name of Object.keys(entry.app_metadata ?? {}).filter((key) => APP_METADATA_RESERVED.includes(key))) {
    problems.push({ code: 'NOT_PASSED', message: `app_metadata must not have the property ${name}`, path: 'app_metadata' });
  }
  if (entry.mfa_factors !== undefined) {
    problems.push({ code: 'MFA_FACTORS_FAILED', message: 'There is no multi-factor authentication here: leave mfa_factors out', path: 'mfa_factors' });
  }
  if (entry.password_hash !== undefined && entry.custom_password_hash !== undefined) {
    problems.push({ code: 'NOT_PASSED', message: 'password_hash and custom_password_hash exclude each other', path: 'custom_password_hash' });
  }
  return [...problems, ...problemsOfHash(entry.custom_password_hash)];
}

function problemsOfHash(custom: Entry['custom_password_hash']): Problem[] {
  if (custom === undefined) return [];
  const { algorithm, hash: { value, encoding = 'utf8' }, salt } = custom;
  if (algorithm !== 'bcrypt' && algorithm !== 'argon2') {
    const message = `Hashes of ${algorithm} are not supported here, only bcrypt and argon2: leave the hash out, and let the user choose a new password`;
    return [{ code: 'ENUM_MISMATCH', message, path: 'custom_password_hash.algorithm' }];
  }
  if (encoding !== 'utf8' || salt !== undefined) {
    return [{ code: 'NOT_PASSED', message: `A hash of ${algorithm} has the encoding utf8 and its salt in itself`, path: 'custom_password_hash.hash' }];
  }
  if (algorithm === 'bcrypt' ? BCRYPT.test(value) : isArgon2(value)) return [];
  const form = algorithm === 'bcrypt' ? '$2a$ or $2b$ with 4 to 15 rounds' : `the PHC string format, with at most ${MAX_ARGON2_KIB} KiB, 10 passes and 16 lanes`;
  return [{ code: 'FORMAT', message: `The hash does not have the form of ${algorithm} that is supported here: ${form}`, path: 'custom_password_hash.hash.value' }];
}

/** Whether a login could hold a password against it: one that cannot be read would fail there. */
function isArgon2(value: string): boolean {
  const [, memory, passes, lanes, ...texts] = ARGON2.exec(value) ?? [];
  const isInBounds = Number(memory) <= MAX_ARGON2_KIB && Number(memory) >= 8 * Number(lanes) && Number(passes) <= 10 && Number(lanes) <= 16;
  return isInBounds && texts.every((text) => Buffer.from(text, 'base64').toString('base64').replace(/=+$/, '') === text);
}

/** Auth0's exports have ids with the provider; there, who imports them again must take it away. */
function withoutProvider(id: string | undefined, strategy: string): string | undefined {
  return id?.startsWith(`${strategy}|`) ? id.slice(strategy.length + 1) : id;
}

/** By zod's issues, in Auth0's codes. */
const CODES: Record<string, string> = { invalid_type: 'INVALID_TYPE', unrecognized_keys: 'NOT_PASSED', invalid_format: 'FORMAT', invalid_value: 'ENUM_MISMATCH' };

function problemOf(issue: z.core.$ZodIssue): Problem {
  const path = issue.path.join('.');
  if (issue.code === 'invalid_type' && issue.input === undefined) {
    return { code: 'OBJECT_REQUIRED', message: `Missing required property: ${String(issue.path.at(-1))}`, path };
  }
  const size = issue.code === 'too_small' ? 'MIN_LENGTH' : 'MAX_LENGTH';
  return { code: CODES[issue.code] ?? (issue.code.startsWith('too_') ? size : 'NOT_PASSED'), message: textOf(issue), path };
}
