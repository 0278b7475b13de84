import type { z } from 'zod';

/**
 * The first thing that is wrong, as a sentence in the words of Auth0's validator:
 * `'Missing required property: name' on property secrets[0].`
 */
export function problemOf(error: z.ZodError): string {
  const issue = error.issues[0];
  return issue === undefined ? 'the request does not have the expected form.' : `${describeIssue(issue)}.`;
}

/**
 * One problem in the words of Auth0's validator (z-schema), e.g. `'Missing required property: name'` or
 * `'Expected type string but found type integer' on property secrets[0].name`. A value is repeated only where it is
 * one of a few words, never where it could be a secret.
 */
function describeIssue(issue: z.core.$ZodIssue): string {
  // Auth0 names a missing property, and where it is missing, in one: the property belongs to the text.
  const missing = issue.code === 'invalid_type' && issue.input === undefined && typeof issue.path.at(-1) === 'string';
  const path = propertyPath(missing ? issue.path.slice(0, -1) : issue.path);
  const text = missing ? `Missing required property: ${String(issue.path.at(-1))}` : textOf(issue);
  return `'${text}'${path === '' ? '' : ` on property ${path}`}`;
}

/** What is wrong, without where. */
export function textOf(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return `Expected type ${typeName(issue.expected)} but found type ${typeOf(issue.input)}`;
    case 'unrecognized_keys':
      return `Additional properties not allowed: ${issue.keys.join(',')}`;
    case 'too_small':
      if (issue.origin === 'string') return `String is too short (${sizeOf(issue.input)} chars), minimum ${issue.minimum}`;
      if (issue.origin === 'array') return `Array is too short (${sizeOf(issue.input)}), minimum ${issue.minimum}`;
      return `Value ${String(issue.input)} is less than minimum ${issue.minimum}`;
    case 'too_big':
      if (issue.origin === 'string') return `String is too long (${sizeOf(issue.input)} chars), maximum ${issue.maximum}`;
      if (issue.origin === 'array') return `Array is too long (${sizeOf(issue.input)}), maximum ${issue.maximum}`;
      return `Value ${String(issue.input)} is greater than maximum ${issue.maximum}`;
    case 'invalid_format':
      if (issue.format === 'regex') return `String does not match pattern: ${(issue.pattern ?? '').replace(/^\/(.*)\/\w*$/, '$1')}`;
      return `Object didn't pass validation for format ${issue.format}`;
    case 'invalid_value':
      return `No enum match for: ${typeof issue.input === 'string' ? issue.input.slice(0, 100) : typeOf(issue.input)}`;
    case 'invalid_key':
      return issue.issues[0] === undefined ? 'Invalid property name' : `Invalid property name: ${textOf(issue.issues[0])}`;
    case 'invalid_union':
      return "Data does not match any schemas from 'anyOf'";
    default:
      return issue.message;
  }
}

/** `['secrets', 0, 'name']` → `secrets[0].name`. */
function propertyPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`;
    return text === '' ? String(part) : `${text}.${String(part)}`;
  }, '');
}

function typeName(expected: string): string {
  if (expected === 'int') return 'integer';
  return expected === 'record' ? 'object' : expected;
}

function typeOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  // What a query parameter becomes that should have been a number.
  if (Number.isNaN(value)) return 'string';
  return Number.isInteger(value) ? 'integer' : typeof value;
}

function sizeOf(value: unknown): number {
  return typeof value === 'string' || Array.isArray(value) ? value.length : 0;
}
