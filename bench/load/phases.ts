import { isNoise, percentile, type Ratio, ratioOfApart, type Rounds } from '../statistics.ts';
import type { Memory } from './memory.ts';

/**
 * A time in which sign-ups were measured on one Usher: with nothing else to do, under a load, or while another Usher on the
 * same machine, that shares nothing else with it, has such a load.
 */
export interface Phase {
  name: string;
  kind: 'quiet' | 'load' | 'elsewhere';
  /** What the load was, whatever its size. */
  doing: string;
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
  /** Under a load: to the sign-ups while another Usher had the same. null: there was none. */
  p95ToElsewhere: Ratio | null;
}

/** @param phases of one Usher, at least two of them quiet. */
export function comparePhases(phases: Phase[]): PhaseRow[] {
  const [first = [], ...later] = phases.filter(({ kind }) => kind === 'quiet').map(({ signUpsMs }) => signUpsMs);
  const quiet = [first, ...later].flat();
  const noise = ratioOfApart(later.flat(), first, p95);
  return phases.map(({ name, kind, doing, signUpsMs }) => {
    const base = kind === 'quiet' ? first : quiet;
    const ratio = ratioOfApart(signUpsMs, base, p95);
    const all = signUpsMs.flat();
    const elsewhere = kind === 'load' ? phases.filter((phase) => phase.kind === 'elsewhere' && phase.doing === doing).flatMap((phase) => phase.signUpsMs) : [];
    return {
      name,
      signUps: all.length,
      p50Ms: p50(all),
      p95Ms: p95(all),
      p50: ratioOfApart(signUpsMs, base, p50),
      p95: ratio,
      p95LikeQuiet: isNoise(ratio, noise),
      p95ToElsewhere: elsewhere.length === 0 ? null : ratioOfApart(signUpsMs, elsewhere, p95),
    };
  });
}

function p50(durationsMs: number[]): number {
  return percentile(durationsMs, 0.5);
}

function p95(durationsMs: number[]): number {
  return percentile(durationsMs, 0.95);
}
