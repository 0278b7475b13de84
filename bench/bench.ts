import { ratio, runBench, say, table, yesNo } from './report.ts';
import { benchSignUp, type SignUpResult } from './sign-up.ts';
import { benchThroughput, type ThroughputResult } from './throughput.ts';

/**
 * `npm run bench`: what a sign-up waits for, and how many registrations run to their end in a second, each as a ratio
 * to a base that was measured beside it. Prints tables and keeps the whole as JSON in `bench/results/`.
 */
runBench('', async (signal) => {
  const signUp = await benchSignUp(say, signal);
  printSignUp(signUp);
  const throughput = await benchThroughput(say, signal);
  printThroughput(throughput);
  return { signUp, throughput };
});

function printSignUp({ arrivals, underWay }: SignUpResult): void {
  for (const { name, rows } of arrivals) {
    table(
      [name, 'p50', 'p95', 'p50 / A', '95 % interval', 'like A?', 'p95 / A', '95 % interval'],
      rows.map((row) => [row.condition, `${row.p50Ms.toFixed(1)} ms`, `${row.p95Ms.toFixed(1)} ms`, ...ratio(row.p50), yesNo(row.p50LikeA), ...ratio(row.p95)]),
    );
  }
  say('The password hash included.');
  say('Like A: no further from A than A measured twice can be from itself (its 95 % interval).');
  say(`Under way: ${underWay.before} registrations before the measurement, ${underWay.after} after it.`);
}

function printThroughput({ rows }: ThroughputResult): void {
  table(
    ['three trivial Actions', 'per second', 'rate / A', '95 % interval'],
    rows.map((row) => [row.what, row.perSecond.toFixed(1), ...ratio(row.rate)]),
  );
  say('From the first commit (or start) to the last close (or record).');
}
