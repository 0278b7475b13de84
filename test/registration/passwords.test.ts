import { verify } from '@node-rs/argon2';
import { describe, expect, it } from 'vitest';
import { findWeakness, hashPassword, type PasswordPolicy } from '../../src/passwords.ts';

describe('a password policy', () => {
  it.each<[PasswordPolicy, string, string]>([
    ['none', 'x', ''],
    ['low', '123456', '12345'],
    ['fair', 'abcdeF12', 'abcdefg1'],
    ['good', 'abcdef1!', 'abcdefg1'],
    ['good', 'ABCdef12', 'ABCde12'],
    ['excellent', 'abcdefgH1!', 'abcdefH1!'],
    ['excellent', 'aabbccddEE1', 'aaabccddEE1'],
  ])('%s takes "%s" and not "%s"', (policy, strong, weak) => {
    expect(findWeakness(policy, strong)).toBeNull();
    expect(findWeakness(policy, weak)).not.toBeNull();
  });

  it('tells its rules as text too', () => {
    expect(findWeakness('excellent', '')?.policy).toContain('* No more than 2 identical characters in a row (e.g., "aaa" not allowed)');
    expect(findWeakness('fair', '')?.policy).toBe(
      '* At least 8 characters in length\n* Should contain:\n * lower case letters (a-z)\n * upper case letters (A-Z)\n * numbers (i.e. 0-9)',
    );
  });
});

it('a hash is salted, and verifies only its own password', async () => {
  const [one, two] = await Promise.all([hashPassword('pass'), hashPassword('pass')]);
  expect(one).not.toBe(two);
  expect(await verify(one ?? '', 'pass')).toBe(true);
  expect(await verify(one ?? '', 'other')).toBe(false);
});
