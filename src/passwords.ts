import { hash, verify } from '@node-rs/argon2';
import { verify as verifyBcrypt } from '@node-rs/bcrypt';
import { availableParallelism } from 'node:os';
import pLimit from 'p-limit';

/** Hashing is most of the work of a sign-up (about 20 ms): more at once than there are cores only slows all of them. */
const hashing = pLimit(availableParallelism());

/** OWASP's first choice for argon2id: 19 MiB, 2 passes. */
const COST = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };

/** Hashes a password with argon2id, off the main thread. */
export async function hashPassword(password: string): Promise<string> {
  return await hashing(() => hash(password, COST));
}

/** Modular crypt texts of bcrypt, as Auth0 exports them. */
const BCRYPT = /^\$2[aby]\$/;

let nobodys: Promise<string> | undefined;

/**
 * Holds a password against a hash, argon2id or an imported bcrypt one, off the main thread. Without a hash it works as
 * long as with one of argon2id, and the password is wrong.
 */
export async function isPasswordOf(passwordHash: string | null, password: string): Promise<boolean> {
  if (passwordHash === null) {
    nobodys ??= hashPassword('the password of nobody');
    const comparedWith = await nobodys;
    await hashing(() => verify(comparedWith, password));
    return false;
  }
  return await hashing(() => (BCRYPT.test(passwordHash) ? verifyBcrypt(password, passwordHash) : verify(passwordHash, password)));
}

/** True for a hash that `hashPassword` would make otherwise today: an imported one. */
export function isOutdated(passwordHash: string): boolean {
  return !passwordHash.startsWith(`$argon2id$v=19$m=${COST.memoryCost},t=${COST.timeCost},p=${COST.parallelism}$`);
}

/** Strength that a connection asks of its passwords, by Auth0's names. */
export type PasswordPolicy = 'none' | 'low' | 'fair' | 'good' | 'excellent';

/** One rule and whether the password keeps it, as Auth0's `PasswordStrengthError` tells it. */
export interface PasswordRule {
  message: string;
  code: string;
  format?: (number | string)[];
  items?: PasswordRule[];
  verified: boolean;
}

/** What is wrong with a password; `policy` is the same as text. */
export interface WeakPassword {
  rules: PasswordRule[];
  policy: string;
}

const CLASSES = [
  { message: 'lower case letters (a-z)', code: 'lowerCase', pattern: /[a-z]/ },
  { message: 'upper case letters (A-Z)', code: 'upperCase', pattern: /[A-Z]/ },
  { message: 'numbers (i.e. 0-9)', code: 'numbers', pattern: /[0-9]/ },
  { message: 'special characters (e.g. !@#$%^&*)', code: 'specialCharacters', pattern: /[ !-/:-@[-`{-~]/ },
] as const;

/** Source: contract §5.1 (policies and the bodies of two of them). */
const POLICIES: Record<PasswordPolicy, (password: string, minLength: number | undefined) => PasswordRule[]> = {
  none: (password, minLength) => [{ message: 'Non-empty password required', code: 'nonEmpty', verified: password.length > 0 }, ...(minLength === undefined ? [] : [lengthAtLeast(password, minLength)])],
  low: (password, minLength = 6) => [lengthAtLeast(password, minLength)],
  fair: (password, minLength = 8) => [lengthAtLeast(password, minLength), shouldContain(password)],
  good: (password, minLength = 8) => [lengthAtLeast(password, minLength), containsThreeOfFour(password)],
  excellent: (password, minLength = 10) => [lengthAtLeast(password, minLength), containsThreeOfFour(password), fewIdentical(password)],
};

/** Holds a password against a policy; null when it is strong enough. @param minLength in the place of the policy's own. */
export function findWeakness(policy: PasswordPolicy, password: string, minLength?: number): WeakPassword | null {
  const rules = POLICIES[policy](password, minLength);
  if (rules.every((rule) => rule.verified)) return null;
  return { rules, policy: rules.map((rule) => asText(rule)).join('\n') };
}

function lengthAtLeast(password: string, minimum: number): PasswordRule {
  return { message: 'At least %d characters in length', format: [minimum], code: 'lengthAtLeast', verified: password.length >= minimum };
}

function classesIn(password: string, classes: readonly (typeof CLASSES)[number][]): PasswordRule[] {
  return classes.map(({ message, code, pattern }) => ({ message, code, verified: pattern.test(password) }));
}

function shouldContain(password: string): PasswordRule {
  const items = classesIn(password, CLASSES.slice(0, 3));
  return { message: 'Should contain:', code: 'shouldContain', items, verified: items.every((item) => item.verified) };
}

function containsThreeOfFour(password: string): PasswordRule {
  const items = classesIn(password, CLASSES);
  return {
    message: 'Contain at least %d of the following %d types of characters:',
    code: 'containsAtLeast',
    format: [3, 4],
    items,
    verified: items.filter((item) => item.verified).length >= 3,
  };
}

function fewIdentical(password: string): PasswordRule {
  return {
    message: 'No more than %d identical characters in a row (e.g., "%s" not allowed)',
    code: 'identicalChars',
    format: [2, 'aaa'],
    verified: !/(.)\1\1/su.test(password),
  };
}

function asText(rule: PasswordRule, indent = ''): string {
  const values = [...(rule.format ?? [])];
  const message = rule.message.replace(/%[ds]/g, () => String(values.shift()));
  return [`${indent}* ${message}`, ...(rule.items ?? []).map((item) => asText(item, `${indent} `))].join('\n');
}
