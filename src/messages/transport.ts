import type { Message } from '../domain/message.ts';

/** Gives messages of one channel to whoever delivers them. */
export interface Transport<M extends Message = Message> {
  /**
   * Resolves when the message was taken over.
   *
   * @param id of the message, the same for each try.
   * @throws {TransportError} when it was not.
   */
  send(message: M & { to: string }, id: string): Promise<void>;
  close(): void;
}

/** A message was not taken over. Its text is fit for a log: it tells nothing of recipient or content. */
export class TransportError extends Error {
  /** No later try can succeed: the address does not exist, the message is refused. */
  readonly permanent: boolean;

  constructor(message: string, { permanent }: { permanent: boolean }) {
    super(message);
    this.name = 'TransportError';
    this.permanent = permanent;
  }
}
