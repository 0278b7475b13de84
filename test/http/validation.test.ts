import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { problemOf } from '../../src/http/validation.ts';

const schema = z.strictObject({
  name: z.string().min(1).max(5),
  secrets: z.array(z.strictObject({ name: z.string(), value: z.string().optional() })).max(2).optional(),
  kind: z.enum(['a', 'b']).optional(),
  count: z.number().int().max(9).optional(),
});

function messageFor(body: unknown): string {
  const { error } = schema.safeParse(body, { reportInput: true });
  if (error === undefined) throw new Error('the body was taken');
  return problemOf(error);
}

describe('a body of the Management API', () => {
  it.each([
    [{}, "'Missing required property: name'."],
    [[], "'Expected type object but found type array'."],
    [{ name: 1 }, "'Expected type string but found type integer' on property name."],
    [{ name: null }, "'Expected type string but found type null' on property name."],
    [{ name: '' }, "'String is too short (0 chars), minimum 1' on property name."],
    [{ name: 'toolong' }, "'String is too long (7 chars), maximum 5' on property name."],
    [{ name: 'a', foo: 1, bar: 2 }, "'Additional properties not allowed: foo,bar'."],
    [JSON.parse('{"name":"a","__proto__":{}}'), "'Additional properties not allowed: __proto__'."],
    [{ name: 'a', secrets: [{}] }, "'Missing required property: name' on property secrets[0]."],
    [{ name: 'a', secrets: [{ name: 'x' }, { name: 'y', val: 1 }] }, "'Additional properties not allowed: val' on property secrets[1]."],
    [{ name: 'a', secrets: [{ name: '1' }, { name: '2' }, { name: '3' }] }, "'Array is too long (3), maximum 2' on property secrets."],
    [{ name: 'a', kind: 'c' }, "'No enum match for: c' on property kind."],
    [{ name: 'a', count: 10 }, "'Value 10 is greater than maximum 9' on property count."],
    [{ name: 'a', count: 1.5 }, "'Expected type integer but found type number' on property count."],
  ])('%j is refused in the words of Auth0', (body, text) => {
    expect(messageFor(body)).toBe(text);
  });

  it('that holds a secret where something else belongs is refused without repeating it', () => {
    expect(messageFor({ name: { value: 'the-secret' } })).not.toContain('the-secret');
    expect(messageFor({ name: 'the-secret' })).not.toContain('the-secret');
  });
});
