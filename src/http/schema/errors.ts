import { z } from 'zod';
import type { ErrorShape } from '../endpoint.ts';

const OURS = z.strictObject({ error_id: z.string() }).optional().describe('Ours, of a 500: names the line in the log that has the details.');

/** The bodies of errors, by the API that was called (contract §4.4, §5.1, §5.3). */
export const ERRORS: Record<ErrorShape, z.ZodType> = {
  management: z
    .strictObject({
      statusCode: z.int(),
      error: z.string().describe('The reason phrase of the status.'),
      message: z.string(),
      errorCode: z.string().optional(),
      usher: OURS,
    })
    .meta({ id: 'ManagementError' }),
  'sign-up': z
    .union([
      z.strictObject({
        name: z.string(),
        code: z.string(),
        message: z.string().optional(),
        description: z.union([z.string(), z.record(z.string(), z.unknown())]),
        policy: z.string().optional(),
        statusCode: z.int(),
        usher: OURS,
      }),
      z.strictObject({ error: z.string(), error_description: z.string().optional() }),
    ])
    .meta({ id: 'SignUpError' }),
  oauth: z.strictObject({ error: z.string(), error_description: z.string(), usher: OURS }).meta({ id: 'OAuthError' }),
};
