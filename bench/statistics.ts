/** Samples of one condition: per round, the durations in milliseconds. Rounds of different conditions belong together. */
export type Rounds = number[][];

/** A quotient with its 95 % confidence interval. */
export interface Ratio {
  ratio: number;
  low: number;
  high: number;
}

const RESAMPLES = 1000;

/** The p-th part of the samples (0.5: the median), by the nearest rank. */
export function percentile(samples: number[], p: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * p) - 1)] ?? Number.NaN;
}

/**
 * A statistic of one condition as a ratio to that of another.
 *
 * The interval is a bootstrap over whole rounds, taken from both conditions alike: samples of one round share what the
 * machine did just then, so they are not independent of each other.
 */
export function ratioOf(rounds: Rounds, base: Rounds, statistic: (samples: number[]) => number): Ratio {
  const count = Math.min(rounds.length, base.length);
  return withInterval(rounds, base, statistic, () => {
    const drawn = draw(count);
    return [drawn, drawn];
  });
}

/** The same where the rounds of the two conditions were measured one after the other, and need not be as many. */
export function ratioOfApart(rounds: Rounds, base: Rounds, statistic: (samples: number[]) => number): Ratio {
  return withInterval(rounds, base, statistic, () => [draw(rounds.length), draw(base.length)]);
}

/** @param drawBoth which rounds of the two are taken for one resample. */
function withInterval(rounds: Rounds, base: Rounds, statistic: (samples: number[]) => number, drawBoth: () => [number[], number[]]): Ratio {
  const quotients = Array.from({ length: RESAMPLES }, () => {
    const [ofRounds, ofBase] = drawBoth();
    return statistic(ofRounds.flatMap((at) => rounds[at]!)) / statistic(ofBase.flatMap((at) => base[at]!));
  });
  return {
    ratio: statistic(rounds.flat()) / statistic(base.flat()),
    low: percentile(quotients, 0.025),
    high: percentile(quotients, 0.975),
  };
}

/** As many rounds as there are, each taken any number of times. */
function draw(count: number): number[] {
  return Array.from({ length: count }, () => Math.floor(Math.random() * count));
}

/** True when a ratio is no further from 1 than what was measured twice can be from itself. */
export function isNoise({ ratio }: Ratio, again: Ratio): boolean {
  const distance = (quotient: number): number => Math.abs(Math.log(quotient));
  return distance(ratio) <= Math.max(distance(again.low), distance(again.high));
}

/** A new array with the items in random order. */
export function shuffled<T>(items: readonly T[]): T[] {
  return items.map((item) => ({ item, at: Math.random() })).toSorted((a, b) => a.at - b.at).map(({ item }) => item);
}
