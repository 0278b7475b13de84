import { DefaultFailureConverter } from '@temporalio/common';

/** Puts message and stack of a failure into a payload, which the codec encrypts. Also a part of the workflow bundle. */
export const failureConverter = new DefaultFailureConverter({ encodeCommonAttributes: true });
