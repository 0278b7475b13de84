import { isNoise, percentile, type Ratio, ratioOfApart, type Rounds } from '../statistics.ts';
import type { Memory } from './memory.ts';

/** A time in which sign-ups were measured on one Usher, with nothing else to do or under a load. */
export interface Phase {
  name: string;
  isQuiet: boolean;
  seconds: number;
  signUpsMs: Rounds;
  peakMiB: Memory;
}

/** Sign-ups of a phase: the first quiet one to itself, other quiet ones to the first, the others to all quiet ones. */
export interface PhaseRow {
  name: string;
  signUps: number;
  p50Ms: number;
  p95Ms: number;
  p50: Ratio;
  p95: Ratio;
  /** The p95 differs from that of the quiet phases by no more than they from each other. */
  p95LikeQuiet: boolean;
}

/** @param phases of one Usher, at least two of them quiet. */
export function comparePhases(phases: Phase[]): PhaseRow[] {
  const [first = [], ...later] = phases.filter(({ isQuiet }) => isQuiet).map(({ signUpsMs }) => signUpsMs);
  const quiet = [first, ...later].flat();
  const noise = ratioOfApart(later.flat(), first, p95);
  return phases.map(({ name, isQuiet, signUpsMs }) => {
    const base = isQuiet ? first : quiet;
    const ratio = ratioOfApart(signUpsMs, base, p95);
    const all = signUpsMs.flat();
    return { name, signUps: all.length, p50Ms: p50(all), p95Ms: p95(all), p50: ratioOfApart(signUpsMs, base, p50), p95: ratio, p95LikeQuiet: isNoise(ratio, noise) };
  });
}

function p50(durationsMs: number[]): number {
  return percentile(durationsMs, 0.5);
}

function p95(durationsMs: number[]): number {
  return percentile(durationsMs, 0.95);
}
