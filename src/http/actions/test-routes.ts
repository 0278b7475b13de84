import { z } from 'zod';
import type { TestDraft } from '../../builds/test-draft.ts';
import { managementError } from '../../domain/api-error.ts';
import type { TestReport } from '../../sandbox/test-run.ts';
import { type Route, route } from '../endpoint.ts';
import { ID_PATH } from '../schema/common.ts';
import { callOf, logOf } from './execution-body.ts';
import { CALL, LOG_LINE } from './execution-schema.ts';

const BODY = z.strictObject({
  payload: z.looseObject({ event: z.record(z.string(), z.unknown()).optional().describe("What the handler gets. Left out, it is Auth0's sample event.") }),
});

const MS = z.int();

/** Auth0's shape (contract §4.3); of what a good run answers no public source says more than `stats`. */
const TESTED = z
  .strictObject({
    payload: z.strictObject({
      error: z.strictObject({ message: z.string(), name: z.string(), stack: z.string().optional() }).optional(),
      logs: z.array(LOG_LINE),
      stats: z.strictObject({
        total_request_duration_ms: MS,
        total_runtime_execution_duration_ms: MS,
        runtime_processing_duration_ms: MS,
        action_duration_ms: MS,
        runtime_external_call_duration_ms: MS,
        boot_duration_ms: MS,
      }),
      usher: z.strictObject({
        error_type: z.string().optional().describe('The type of an attempt that fails like this.'),
        retryable: z.boolean().optional().describe('Whether a registration would try again.'),
        calls: z.array(CALL),
        commands: z.array(z.looseObject({ kind: z.string() })).describe('What it asked for through `api`; nothing of it was done.'),
        cache_changes: z.array(z.looseObject({ kind: z.string(), key: z.string() })),
        logs_truncated: z.boolean(),
      }),
    }),
  })
  .meta({ id: 'ActionTest' });

/** Runs a draft without a registration. */
export function testRoutes({ testDraft }: { testDraft: TestDraft }): Route[] {
  return [
    route(
      {
        operationId: 'post_test_action',
        method: 'post',
        path: '/api/v2/actions/actions/{id}/test',
        summary: "Run an Action's draft once",
        description: 'Answers 200 also when the Action fails. What it sends to others is sent; nothing of the run is kept.',
        tag: 'actions',
        scopes: ['create:actions'],
        params: ID_PATH,
        body: BODY,
        returns: TESTED,
        errors: [404],
      },
      async ({ params, body, res }) => {
        const left = new AbortController();
        res.once('close', () => left.abort(managementError(503, 'The client has left.')));
        return testAnswer(await testDraft(params.id, { event: body.payload.event, signal: left.signal }));
      },
    ),
  ];
}

function testAnswer({ error, logs, logsTruncated, calls, commands, cacheChanges, stats }: TestReport): z.input<typeof TESTED> {
  return {
    payload: {
      ...(error === null ? {} : { error: { message: error.message, name: error.name, ...(error.stack === undefined ? {} : { stack: error.stack }) } }),
      logs: logs.map(logOf),
      stats,
      usher: {
        ...(error === null ? {} : { error_type: error.type, retryable: error.retryable }),
        calls: calls.map(callOf),
        commands,
        cache_changes: cacheChanges,
        logs_truncated: logsTruncated,
      },
    },
  };
}
