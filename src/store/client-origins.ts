import type { ClientSettings } from './clients.ts';
import type { Database } from './database.ts';

/** How long another process may go on with what it has read. */
const LIFETIME_MS = 3000;

/** The origins from which browsers may call us, by client. */
export interface ClientOrigins {
  /** @param clientId the client that a request names; null: any client will do. */
  allows(origin: string, clientId: string | null): Promise<boolean>;
  /** To be called when a client has changed. */
  forget(): void;
}

/** One client's origins, or those of all. */
interface Origins {
  exact: Set<string>;
  patterns: RegExp[];
}

/** Reads the origins of all clients at most once in `LIFETIME_MS`, however many requests ask. */
export function createClientOrigins({ database }: { database: Database }): ClientOrigins {
  let known: { byClient: Promise<Map<string | null, Origins>>; until: number } | null = null;

  async function read(): Promise<Map<string | null, Origins>> {
    const rows = await database.db.selectFrom('client').select(['id', 'settings']).execute();
    const any: Origins = { exact: new Set(), patterns: [] };
    const byClient = new Map<string | null, Origins>([[null, any]]);
    for (const { id, settings } of rows) {
      const { allowed_origins: allowed = [], web_origins: web = [] } = JSON.parse(settings) as ClientSettings;
      const own: Origins = { exact: new Set(), patterns: [] };
      for (const entry of [...allowed, ...web]) addOrigin(entry, own);
      byClient.set(id, own);
      for (const origin of own.exact) any.exact.add(origin);
      any.patterns.push(...own.patterns);
    }
    return byClient;
  }

  return {
    async allows(origin, clientId) {
      if (known === null || performance.now() > known.until) known = { byClient: read(), until: performance.now() + LIFETIME_MS };
      const { byClient } = known;
      try {
        const origins = (await byClient).get(clientId);
        return origins !== undefined && (origins.exact.has(origin) || origins.patterns.some((pattern) => pattern.test(origin)));
      } catch (error) {
        // A failure is not kept: the next request tries again.
        if (known?.byClient === byClient) known = null;
        throw error;
      }
    },

    forget() {
      known = null;
    },
  };
}

/** `https://`, then a label with one `*` and perhaps a beginning and an end, then at least two more labels. */
const WILDCARD = /^(https?:\/\/)([a-z0-9-]*)\*([a-z0-9-]*)((?:\.[a-z0-9-]+){2,}(?::\d+)?)$/;

/**
 * Takes an entry of `allowed_origins` or `web_origins`. Rules of its `*`: Auth0's "Subdomain URL placeholders"; it stands
 * for one level, furthest from the domain. What is no origin matches nothing.
 */
function addOrigin(entry: string, { exact, patterns }: Origins): void {
  const text = entry.trim().toLowerCase();
  const wildcard = WILDCARD.exec(text.replace(/\/$/, ''));
  if (wildcard !== null) {
    const [, scheme = '', start = '', end = '', rest = ''] = wildcard;
    patterns.push(new RegExp(`^${scheme}${start}[a-z0-9-]+${end}${rest.replaceAll('.', String.raw`\.`)}$`));
  } else if (!text.includes('*') && URL.canParse(text)) {
    const { origin } = new URL(text);
    if (origin !== 'null') exact.add(origin);
  }
}
