import { isNoise, percentile, type Ratio, ratioOf, ratioOfApart, type Rounds } from '../statistics.ts';
import type { Memory } from './memory.ts';

/** A time in which sign-ups were measured, on an Usher with nothing else to do or with a load, and on its idle twin. */
export interface Phase {
  name: string;
  kind: 'quiet' | 'load';
  seconds: number;
  signUpsMs: Rounds;
  /** In the same moments. */
  atTwinMs: Rounds;
  peakMiB: Memory;
}

/** Sign-ups of a phase: the first quiet one to itself, other quiet ones to the first, loads to all quiet ones. */
export interface PhaseRow {
  name: string;
  signUps: number;
  p50Ms: number;
  p95Ms: number;
  p50: Ratio;
  p95: Ratio;
  /** The p95 differs from that of the quiet phases by no more than they from each other. */
  p95LikeQuiet: boolean;
  p95AtTwinMs: number;
  /** To the twin in the same phase. */
  p95ToTwin: Ratio;
  /** The p95 differs from that of the twin by no more than in the quiet phases. */
  p95LikeTwin: boolean;
}

/** @param phases of one Usher, at least two of them quiet. */
export function comparePhases(phases: Phase[]): PhaseRow[] {
  const quiets = phases.filter(({ kind }) => kind === 'quiet');
  const [first = [], ...later] = quiets.map(({ signUpsMs }) => signUpsMs);
  const quiet = [first, ...later].flat();
  const noise = ratioOfApart(later.flat(), first, p95);
  const twins = ratioOfApart(quiet, quiets.flatMap(({ atTwinMs }) => atTwinMs), p95);
  return phases.map(({ name, kind, signUpsMs, atTwinMs }) => {
    const base = kind === 'quiet' ? first : quiet;
    const ratio = ratioOfApart(signUpsMs, base, p95);
    const toTwin = ratioOf(signUpsMs, atTwinMs, p95);
    const all = signUpsMs.flat();
    return {
      name,
      signUps: all.length,
      p50Ms: p50(all),
      p95Ms: p95(all),
      p50: ratioOfApart(signUpsMs, base, p50),
      p95: ratio,
      p95LikeQuiet: isNoise(ratio, noise),
      p95AtTwinMs: p95(atTwinMs.flat()),
      p95ToTwin: toTwin,
      p95LikeTwin: isNoise(toTwin, twins),
    };
  });
}

function p50(durationsMs: number[]): number {
  return percentile(durationsMs, 0.5);
}

function p95(durationsMs: number[]): number {
  return percentile(durationsMs, 0.95);
}
