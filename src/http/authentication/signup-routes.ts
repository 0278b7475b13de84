import { z } from 'zod';
import type { WeakPassword } from '../../passwords.ts';
import type { Refusal, SignUp } from '../../registration/sign-up.ts';
import { ApiError, signUpError } from '../../domain/api-error.ts';
import { type FingerprintHeaders, requestFacts } from '../request-facts.ts';
import { type Route, route } from '../endpoint.ts';
import { EMAIL_ADDRESS, PHONE_NUMBER, PROFILE, profileIn, USERNAME } from '../schema/user.ts';

/**
 * Fields: contract §5.1; lengths of the profile: those of `POST /users`, §4.5. What it does not know is let through to
 * `event.request.body`, as login pages send fields of their own; docs/auth0-choices.md has the answers that we chose.
 */
const SIGN_UP = z.object({
  client_id: z.string().min(1).max(100).nullish(),
  connection: z.string().min(1).max(128),
  email: EMAIL_ADDRESS,
  password: z.string().min(1),
  username: USERNAME.nullish(),
  phone_number: PHONE_NUMBER.nullish(),
  given_name: PROFILE.given_name.nullish(),
  family_name: PROFILE.family_name.nullish(),
  name: PROFILE.name.nullish(),
  nickname: PROFILE.nickname.nullish(),
  picture: PROFILE.picture.nullish(),
  user_metadata: z
    .record(z.string().max(100), z.string().max(500))
    .refine((metadata) => Object.keys(metadata).length <= 10, 'Too many properties, maximum 10')
    .nullish(),
});

type SignUpBody = z.output<typeof SIGN_UP>;

const SIGNED_UP = z
  .strictObject({
    _id: z.string(),
    email: z.string(),
    email_verified: z.boolean(),
    username: z.string().optional(),
    phone_number: z.string().optional(),
    given_name: z.string().optional(),
    family_name: z.string().optional(),
    name: z.string().optional(),
    nickname: z.string().optional(),
    picture: z.string().optional(),
    user_metadata: z.record(z.string(), z.string()).optional(),
  })
  .meta({ id: 'SignedUp' });

/** Sign-up on a database connection; contract §5.1. */
export function signUpRoutes(deps: { signUp: SignUp; fingerprintHeaders: FingerprintHeaders }): Route[] {
  return [
    route(
      {
        operationId: 'post_dbconnections_signup',
        method: 'post',
        path: '/dbconnections/signup',
        summary: 'Sign up with a password',
        tag: 'authentication',
        scopes: null,
        body: SIGN_UP,
        bodyTypes: ['application/json', 'application/x-www-form-urlencoded'],
        returns: SIGNED_UP,
        errorShape: 'sign-up',
      },
      async ({ body, req }) => {
        const profile = profileIn(body);
        const result = await deps.signUp({
          clientId: body.client_id ?? null,
          connection: body.connection,
          email: body.email,
          username: body.username ?? null,
          phoneNumber: body.phone_number ?? null,
          password: body.password,
          profile,
          userMetadata: body.user_metadata ?? {},
          body: req.body as Record<string, unknown>,
          request: requestFacts(req, deps.fingerprintHeaders),
        });
        if (result.outcome === 'refused') throw asError(result.refusal, body);
        return {
          _id: result.userId,
          email: body.email,
          email_verified: false,
          ...(body.username == null ? {} : { username: body.username }),
          ...(body.phone_number == null ? {} : { phone_number: body.phone_number }),
          ...profile,
          ...(body.user_metadata == null ? {} : { user_metadata: body.user_metadata }),
        };
      },
    ),
  ];
}

function asError(refusal: Refusal, body: SignUpBody): ApiError {
  switch (refusal.kind) {
    case 'unknown-client':
      return signUpError('invalid_client', 'There is no client with this client_id.');
    case 'unknown-connection':
      return signUpError('invalid_connection', 'There is no database connection of this name that is enabled for the client.');
    case 'signup-disabled':
      return new ApiError(400, { error: 'public signup is disabled' });
    case 'username-missing':
      return signUpError('invalid_body', "Payload validation error: 'Missing required property: username'.");
    case 'username-length':
      return signUpError('invalid_body', `Payload validation error: 'The username must have ${refusal.min} to ${refusal.max} characters' on property username.`);
    case 'exists-untold':
      return signUpError('invalid_signup', 'Invalid sign up');
    case 'weak-password':
      return weakPassword(refusal.weakness);
    case 'common-password':
      return badPassword('PasswordDictionaryError', 'Password is too common', 'Password is not allowed, it might be too common.');
    case 'personal-password':
      return badPassword('PasswordNoUserInfoError', 'Password contains user information', 'Password contains user information');
    case 'user-exists':
      return signUpError('user_exists', `The user already exists${refusal.field === 'username' ? ` (username: ${body.username})` : ''}.`);
    case 'denied':
      return extensibilityError(refusal.userMessage || refusal.reason || 'The sign-up was denied.');
    default:
      return extensibilityError('The sign-up could not be completed. Please try again later.');
  }
}

/** Body: contract §5.1, `PasswordStrengthError`. */
function weakPassword({ rules, policy }: WeakPassword): ApiError {
  return new ApiError(400, {
    name: 'PasswordStrengthError',
    message: 'Password is too weak',
    code: 'invalid_password',
    description: { rules, verified: false },
    policy,
    statusCode: 400,
  });
}

function badPassword(name: string, message: string, description: string): ApiError {
  return new ApiError(400, { name, message, code: 'invalid_password', description, statusCode: 400 });
}

/** Body: contract §2. */
function extensibilityError(description: string): ApiError {
  return new ApiError(400, { error: 'extensibility_error', error_description: description });
}
