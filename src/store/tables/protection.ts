/** Somebody's wish that all data about one person be erased; worked on in small batches until it is done. */
export interface ErasureTable {
  id: string;
  /** `done` in the store; Temporal's histories have their own rows. */
  state: 'running' | 'done';
  /** JSON `ErasedPerson`; null once it is done. */
  subject_sealed: string | null;
  key_id: string | null;
  /** Name of what is gone through now, and how far. */
  stage: string;
  cursor: string;
  /** JSON `{registrations, logs …}`: what was removed. */
  removed: string;
  created_by: string;
  created_at: number;
  ended_at: number | null;
}

/** Outbox: a registration that is gone from the store, whose histories are to be deleted in Temporal. */
export interface HistoryRemovalTable {
  registration_id: string;
  erasure_id: string;
  created_at: number;
}
