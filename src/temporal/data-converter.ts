import type { DataConverter } from '@temporalio/common';

/**
 * How values become payloads, the same for client, worker and workflow bundle: the one place for all three.
 *
 * Client and worker take it whole (`dataConverter`). The bundle must be given its `payloadConverterPath` and
 * `failureConverterPath` when it has them (`bundleWorkflowCode`), because they run inside the workflow sandbox and a
 * worker with a finished bundle ignores its own; codecs run outside it and never go into the bundle.
 */
export function dataConverter(): DataConverter {
  return { payloadCodecs: [] };
}
