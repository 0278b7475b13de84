import { createShownUserId } from '../domain/shown-user-id.ts';
import type { Logger } from '../logger.ts';
import type { Dispatcher } from '../registration/dispatcher.ts';
import type { Database } from '../store/database.ts';
import type { Keyring } from '../store/keyring.ts';
import type { Outbox } from '../store/outbox.ts';
import { readSetting, writeSetting } from '../store/settings.ts';
import { createClient, type TemporalEndpoint } from '../temporal/connection.ts';
import { createHistories, type Histories } from '../temporal/histories.ts';
import type { PayloadKeys } from '../temporal/payload-codec.ts';
import { createRegistrationStarter, type RegistrationStarter } from '../temporal/registration-starter.ts';
import { ensureSearchAttributes, type SearchAttributesFound } from '../temporal/search-attributes.ts';

/** The Temporal namespace that this installation last spoke with. */
const NAMESPACE_SETTING = 'temporal_namespace_id';

/** What the api does beside handing registrations over: search attributes, and noticing that Temporal lost its data. */
export interface TemporalLink {
  starter: RegistrationStarter;
  histories: Histories;
  /**
   * Asks Temporal who it is. Another namespace than before knows nothing of what is open: that is made due again.
   *
   * @param options.afterSilence its search attributes are looked at too, as for another namespace.
   * @throws when Temporal cannot be reached.
   */
  look(options: { afterSilence: boolean }): Promise<void>;
  /** What to say in `/readyz`. */
  degraded(state: ReturnType<Dispatcher['temporal']>): Record<string, string>;
  close(): Promise<void>;
}

export function createTemporalLink(deps: {
  endpoint: TemporalEndpoint;
  database: Database;
  keyring: Pick<Keyring, 'mac'>;
  payloadKeys: PayloadKeys;
  outbox: Outbox;
  logger: Logger;
}): TemporalLink {
  const { database, outbox, logger } = deps;
  const client = createClient(deps.endpoint, deps.payloadKeys);
  let attributes: SearchAttributesFound = { available: [], missing: [] };
  const starter = createRegistrationStarter({ client, searchAttributes: () => attributes.available, shownUserId: createShownUserId(deps.keyring) });

  return {
    starter,
    histories: createHistories({ client }),

    async look({ afterSilence }) {
      const id = await starter.namespaceId();
      const before = await readSetting(database.db, NAMESPACE_SETTING);
      if (before !== id) {
        const open = await outbox.makeAllOpenDue();
        if (before !== undefined) logger.warn({ open }, 'Temporal has another namespace than before: what is open starts again');
        await writeSetting(database.db, NAMESPACE_SETTING, id);
      } else if (!afterSilence) {
        return;
      }
      attributes = await ensureSearchAttributes(client);
      for (const { name, command } of attributes.missing) {
        logger.warn({ command }, `the namespace lacks the search attribute ${name} and does not let Usher add it: registrations cannot be found by it`);
      }
    },

    degraded(state) {
      const lacks = attributes.missing.map(({ name, command }) => [`search attribute ${name}`, `missing; add it with: ${command}`] as const);
      return {
        ...(state.state === 'ok' ? {} : { temporal: `${state.state === 'starting' ? 'not reached yet' : 'unreachable'}: ${state.reason}` }),
        ...Object.fromEntries(lacks),
      };
    },

    close: () => client.connection.close(),
  };
}
