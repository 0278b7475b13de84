import { describe, expect, it } from 'vitest';
import { isNoise, percentile, ratioOf, ratioOfApart, type Rounds } from '../../bench/statistics.ts';

const median = (samples: number[]): number => percentile(samples, 0.5);

/** Rounds on a machine that is three times as slow in every other one. */
function rounds(ms: number): Rounds {
  return Array.from({ length: 20 }, (_, round) => [1, 2, 3].map((each) => (ms + each) * (round % 2 === 0 ? 1 : 3)));
}

describe('the statistics of the bench', () => {
  it('takes percentiles by the nearest rank, in whatever order the samples come', () => {
    const samples = [5, 1, 4, 2, 3];
    expect(percentile(samples, 0.5)).toBe(3);
    expect(percentile(samples, 0.95)).toBe(5);
    expect(percentile(samples, 0.2)).toBe(1);
    expect(percentile([7], 0.95)).toBe(7);
  });

  it('gives the ratio of two conditions that were measured in the same rounds, and an interval around it', () => {
    const { ratio, low, high } = ratioOf(rounds(200), rounds(100), median);
    expect(ratio).toBeGreaterThan(1.9);
    expect(ratio).toBeLessThan(2.1);
    expect(low).toBeLessThanOrEqual(ratio);
    expect(high).toBeGreaterThanOrEqual(ratio);
  });

  it('is not deceived by drift that hits both conditions alike', () => {
    const { low, high } = ratioOf(rounds(100), rounds(100), median);
    expect([low, high]).toEqual([1, 1]);
  });

  it('takes all rounds into account when one condition was measured for longer than the other', () => {
    const { ratio, low, high } = ratioOfApart([...rounds(100), ...rounds(300), ...rounds(300)], rounds(100), (samples) => percentile(samples, 0.9));
    expect(ratio).toBeGreaterThan(2);
    expect(low).toBeLessThanOrEqual(ratio);
    expect(high).toBeGreaterThanOrEqual(ratio);
  });

  it('knows less of conditions that were measured apart, as drift does not hit them alike', () => {
    const { low, high } = ratioOfApart(rounds(100), rounds(100), (samples) => samples.reduce((sum, each) => sum + each, 0));
    expect(low).toBeLessThan(1);
    expect(high).toBeGreaterThan(1);
  });

  it('calls a difference noise only when it is as small as what the same condition shows against itself', () => {
    const again = { ratio: 1.02, low: 0.9, high: 1.05 };
    expect(isNoise({ ratio: 1.1, low: 1, high: 1.2 }, again)).toBe(true);
    expect(isNoise({ ratio: 1.2, low: 1, high: 1.4 }, again)).toBe(false);
    expect(isNoise({ ratio: 0.8, low: 0.7, high: 0.9 }, again)).toBe(false);
  });
});
