/** Names of metrics in the queries of an alert file (YAML) or of a Grafana dashboard (JSON). */
export function parsePromNames(file: string, text: string): string[] {
  const queries = file.endsWith('.json') ? [...text.matchAll(/"expr": "((?:[^"\\]|\\.)*)"/g)] : [...text.matchAll(/^ +expr: (.*(?:\n {10,}.*)*)/gm)];
  const names = queries.flatMap(([, query = '']) => [...query.matchAll(/\b(?:usher|nodejs|process|temporal)_[a-z0-9_]+/g)].map(([name]) => name));
  return [...new Set(names)].toSorted();
}
