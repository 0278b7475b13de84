/** Where progress is shown; `process.stderr` fits. */
export interface ProgressOutput {
  write(text: string): unknown;
  /** True on a terminal that can rewrite its last line. */
  isTTY?: boolean;
}

export interface ProgressOptions {
  /** What is being done, e.g. `Building Temporal's command line`. */
  what: string;
  /** How long it usually takes, in words, e.g. `3 to 5 min`. */
  usually: string;
  output: ProgressOutput;
  /** Between two lines where a line cannot be rewritten. @default 15000 */
  lineEveryMs?: number;
}

const REWRITE_EVERY_MS = 1000;
const ERASE_LINE = '\r\u001B[K';

/**
 * Does long work and shows what it is, how long it usually takes and how long it has taken so far: one line that is
 * rewritten on a terminal, a line every 15 s in a log file.
 *
 * @param work gets a function that sets what is shown beside the time, e.g. `812 packages compiled`.
 * @returns what `work` returns; its failure is shown with the time and thrown on.
 */
export async function withProgress<T>(
  { what, usually, output, lineEveryMs = 15_000 }: ProgressOptions,
  work: (detail: (text: string) => void) => Promise<T>,
): Promise<T> {
  const startedAt = performance.now();
  const rewrites = output.isTTY === true;
  let shownDetail = '';
  const soFar = () => duration(performance.now() - startedAt);
  const show = (text: string) => output.write(rewrites ? `${ERASE_LINE}${text}` : `${text}\n`);
  const end = (text: string) => output.write(rewrites ? `${ERASE_LINE}${text}\n` : `${text}\n`);

  show(`${what} (usually ${usually}) ...`);
  const timer = setInterval(
    () => show(`${what}: ${soFar()} so far, usually ${usually}${shownDetail === '' ? '' : `; ${shownDetail}`}`),
    rewrites ? REWRITE_EVERY_MS : lineEveryMs,
  );
  try {
    const result = await work((text) => {
      shownDetail = text;
    });
    end(`${what}: done in ${soFar()}`);
    return result;
  } catch (error) {
    end(`${what}: failed after ${soFar()}`);
    throw error;
  } finally {
    clearInterval(timer);
  }
}

/** `45 s`, `3 min 5 s`. */
function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
