/** Milliseconds that each of two requests takes, as medians of many: they are made in turn, so that a busy machine is busy for both. */
export async function medianTimes(first: (round: number) => Promise<unknown>, second: (round: number) => Promise<unknown>): Promise<[number, number]> {
  const spent: [number[], number[]] = [[], []];
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, request] of [first, second].entries()) {
      const startedAt = performance.now();
      await request(round);
      spent[index]!.push(performance.now() - startedAt);
    }
  }
  const [one, other] = spent.map((values) => values.toSorted((a, b) => a - b)[(ROUNDS - 1) / 2]!);
  return [one!, other!];
}

const ROUNDS = 15;
