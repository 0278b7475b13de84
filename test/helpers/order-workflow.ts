import { actionAttempts } from '../../workflows/activity-options.ts';
import type { OpenStep } from '../../workflows/messages.ts';

/** Starts one attempt at each step at once, with the options that an attempt really has. */
export async function attemptAll(steps: OpenStep[]): Promise<void> {
  await Promise.all(steps.map((step) => actionAttempts(step).runAction({ registrationId: 'one', stepId: step.stepId, phase: step.phase })));
}
