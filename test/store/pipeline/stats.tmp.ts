export const seen: Record<string, number> = {};
export const see = (what: string) => { seen[what] = (seen[what] ?? 0) + 1; };
