import { findWeakness, type WeakPassword } from '../passwords.ts';
import type { ConnectionOptions } from '../store/connections.ts';
import type { Metadata, Profile } from './event.ts';

/** Whose password it is to be. */
export interface PasswordOwner {
  email: string | null;
  username: string | null;
  profile: Profile;
  userMetadata: Metadata;
}

/** Why a connection does not take a password. */
export type PasswordProblem = { kind: 'weak-password'; weakness: WeakPassword } | { kind: 'common-password' } | { kind: 'personal-password' };

/** Shorter parts of a name are in too many good passwords. */
const MIN_PERSONAL_CHARS = 3;

/** The first of most lists of leaked passwords. With Auth0's list of 10,000 a connection's policy has to do the rest. */
const COMMON = new Set(`123456 1234567 12345678 123456789 1234567890 password password1 password123 passw0rd p@ssw0rd p@ssword1 qwerty qwerty123
qwertyuiop 1q2w3e4r 1qaz2wsx abc123 abcd1234 abcd1234! 111111 000000 123123 654321 iloveyou admin admin123 welcome welcome1 welcome123
letmein letmein1 monkey dragon football baseball sunshine princess master superman batman trustno1 shadow michael jordan23 starwars
changeme changeme1 secret test test123 test1234 hello123 summer2024 winter2024 aa123456 asdfghjkl zxcvbnm`.split(/\s+/));

/** Holds a password against what the connection asks: policy, dictionary, personal data. Null: it is taken. */
export function findPasswordProblem(options: ConnectionOptions, password: string, owner: PasswordOwner): PasswordProblem | null {
  const weakness = findWeakness(options.passwordPolicy ?? 'good', password, options.password_complexity_options?.min_length);
  if (weakness !== null) return { kind: 'weak-password', weakness };
  const plain = password.toLowerCase();
  const { password_dictionary: dictionary, password_no_personal_info: noPersonalInfo } = options;
  if (dictionary?.enable === true && (COMMON.has(plain) || dictionary.dictionary?.some((word) => word.toLowerCase() === plain))) return { kind: 'common-password' };
  if (noPersonalInfo?.enable === true && personalTexts(owner).some((text) => plain.includes(text))) return { kind: 'personal-password' };
  return null;
}

/** What Auth0 looks at: names, and the address up to its `@`. */
function personalTexts({ email, username, profile, userMetadata }: PasswordOwner): string[] {
  const { name, nickname, given_name: givenName, family_name: familyName } = profile;
  const found = [email, email?.split('@')[0], username, name, nickname, givenName, familyName, ...['name', 'first', 'last'].map((key) => userMetadata[key])];
  return found.filter((text): text is string => typeof text === 'string' && text.length >= MIN_PERSONAL_CHARS).map((text) => text.toLowerCase());
}
