import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** One series of a scrape. */
export interface Sample {
  /** With `_bucket`, `_sum`, `_count` as it stands there. */
  name: string;
  labels: Record<string, string>;
  value: number;
}

export interface Scrape {
  /** By name, as `# TYPE` tells them. */
  types: Map<string, string>;
  samples: Sample[];
}

/** Reads Prometheus's text format. */
export function parseScrape(text: string): Scrape {
  const lines = text.split('\n');
  return {
    types: new Map(lines.flatMap((line) => {
      const [, name, type] = /^# TYPE (\S+) (\S+)$/.exec(line) ?? [];
      return name === undefined || type === undefined ? [] : [[name, type] as const];
    })),
    samples: lines.flatMap((line) => {
      const [, name, labels = '', value] = /^([a-z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: \d+)?$/i.exec(line) ?? [];
      if (name === undefined) return [];
      return [{ name, labels: Object.fromEntries([...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key, each]) => [key!, each!])), value: Number(value) }];
    }),
  };
}

/** Asks a running process. */
export async function scrape(origin: string): Promise<Scrape> {
  const response = await fetch(`${origin}/metrics`, { headers: { connection: 'close' } });
  if (!response.ok) throw new Error(`${origin}/metrics answered ${response.status}`);
  return parseScrape(await response.text());
}

/** The value of the one series that has at least these labels; undefined when there is none. */
export function valueOf({ samples }: Scrape, name: string, labels: Record<string, string> = {}): number | undefined {
  return samples.find((sample) => sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value))?.value;
}

/** Where the roles of a running Usher show their metrics. */
export async function readOps(dataDir: string): Promise<{ api: string; worker: string }> {
  const { ops } = JSON.parse(await readFile(join(dataDir, 'running.json'), 'utf8')) as { ops: { api: string; worker: string } };
  return ops;
}
