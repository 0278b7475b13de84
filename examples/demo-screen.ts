/** A registration as the demo shows it. */
export interface Shown {
  email: string;
  /** How the sign-up was answered, e.g. `200 in 41 ms`. */
  answer: string;
  /** Into the Web UI. */
  link: string | null;
  executionId?: string;
  done: boolean;
  steps: { name: string; state: string; attempts: number; note: string; nextAt: string | null }[];
}

const MARKS: Record<string, string> = { succeeded: '✓', failed: '✗', parked: '…', pending: '·', blocked: '✗', cancelled: '✗' };

/** Shows registrations live: rewritten in place on a terminal, a line per change in a log file. */
export function showRegistrations(shown: Shown[]): { update(): void; end(): void } {
  const rewrites = process.stdout.isTTY;
  let linesShown = 0;
  const printed = new Set<string>();

  function draw(): void {
    const lines = shown.flatMap((each) => [
      `${each.email}  sign-up answered ${each.answer}`,
      ...each.steps.map((step) => `  ${describe(step)}`),
      ...(each.link === null ? [] : [`  ${each.link}`]),
    ]);
    if (linesShown > 0) process.stdout.write(`\u001B[${linesShown}A\u001B[J`);
    process.stdout.write(`${lines.join('\n')}\n`);
    linesShown = lines.length;
  }

  function log(): void {
    for (const each of shown) {
      print(`${each.email}  sign-up answered ${each.answer}${each.link === null ? '' : `  ${each.link}`}`);
      for (const step of each.steps) if (step.attempts > 0) print(`${each.email}  ${describe(step)}`);
    }
  }

  function print(line: string): void {
    if (printed.has(line)) return;
    printed.add(line);
    process.stdout.write(`${line}\n`);
  }

  const update = rewrites ? draw : log;
  update();
  return { update, end: update };
}

function describe(step: Shown['steps'][number]): string {
  if (step.state === 'running') return `· ${step.name}: attempt ${step.attempts} runs`;
  const attempts = step.attempts === 0 ? '' : ` after ${step.attempts} attempt${step.attempts === 1 ? '' : 's'}`;
  const next = step.nextAt === null ? '' : `, next at ${step.nextAt.slice(11, 19)}`;
  const note = step.note === '' || step.state === 'succeeded' ? '' : ` (${step.note}${next})`;
  return `${MARKS[step.state] ?? '·'} ${step.name}: ${step.state}${attempts}${note}`;
}
