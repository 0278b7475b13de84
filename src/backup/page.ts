import { createHash } from 'node:crypto';
import { TABLES, type TableName } from './tables.ts';

/** A value of a column: bytes stand as base64, so that a page is JSON. */
export type Cell = string | number | null | { base64: string };

/** Some rows of a table; each row has its cells in the order of `columns`. */
export interface Page {
  table: TableName;
  columns: string[];
  rows: Cell[][];
}

/** Everything in a store at one moment. Each table comes in one or more pages, after those that it refers to. */
export interface Snapshot {
  /** Names of the migrations that have made its tables. */
  migrations: string[];
  pages: AsyncIterable<Page>;
}

/** How many rows a table has, and a number that changes with any of them, whatever their order. */
export interface TableSum {
  rows: number;
  /** The SHA-256 of all rows added up, in hex: stores do not agree on how text is sorted. */
  sha256: string;
}

export type Sums = Partial<Record<TableName, TableSum>>;

const MODULUS = 1n << 256n;

/** Adds up pages. */
export function createSums(): { add(page: Page): void; sums(): Sums } {
  const found = new Map<TableName, { rows: number; sum: bigint }>();
  return {
    add({ table, columns, rows }) {
      const entry = found.get(table) ?? { rows: 0, sum: 0n };
      for (const row of rows) {
        const hash = createHash('sha256').update(JSON.stringify([columns, row])).digest('hex');
        entry.sum = (entry.sum + BigInt(`0x${hash}`)) % MODULUS;
      }
      entry.rows += rows.length;
      found.set(table, entry);
    },
    sums: () =>
      Object.fromEntries([...found].map(([table, { rows, sum }]) => [table, { rows, sha256: sum.toString(16).padStart(64, '0') }])),
  };
}

/** The first table of which the two differ, or null. */
export function differingTable(one: Sums, other: Sums): TableName | null {
  return TABLES.find((table) => one[table]?.rows !== other[table]?.rows || one[table]?.sha256 !== other[table]?.sha256) ?? null;
}

/** All rows of all tables together. */
export function countRows(sums: Sums): number {
  return Object.values(sums).reduce((total, { rows }) => total + rows, 0);
}
