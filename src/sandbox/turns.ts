export type Turn = 'go' | 'cancelled' | 'timed-out' | 'closed';

export interface Turns {
  /** Waits for a turn, first come first served. Whoever gets `go` must `give` it back. */
  take(key: string, signal: AbortSignal | undefined): Promise<Turn>;
  give(): void;
  /** Something has changed: perhaps there is room for the first in the queue. */
  next(): void;
  /** Sends the queue away; whoever has a turn keeps it. */
  close(): void;
  /** Fulfilled when nobody has a turn. */
  idle(): Promise<void>;
}

/** A first-in-first-out queue in front of a bounded resource. */
export function createTurns(options: { maxWaitMs: number; hasRoom: (key: string, running: number) => boolean }): Turns {
  const queue: { key: string; answer: (turn: Turn) => void }[] = [];
  const whenIdle: (() => void)[] = [];
  let running = 0;
  let isClosed = false;

  function next(): void {
    for (let first = queue[0]; first !== undefined && options.hasRoom(first.key, running); first = queue[0]) {
      queue.shift();
      running++;
      first.answer('go');
    }
  }

  return {
    take(key, signal) {
      if (isClosed) return Promise.resolve('closed');
      if (signal?.aborted === true) return Promise.resolve('cancelled');
      return new Promise((resolve) => {
        const leave = (turn: Turn): void => {
          queue.splice(queue.indexOf(entry), 1);
          entry.answer(turn);
        };
        const cancel = (): void => leave('cancelled');
        const timer = setTimeout(() => leave('timed-out'), options.maxWaitMs);
        const entry = {
          key,
          answer: (turn: Turn) => {
            clearTimeout(timer);
            signal?.removeEventListener('abort', cancel);
            resolve(turn);
          },
        };
        signal?.addEventListener('abort', cancel, { once: true });
        queue.push(entry);
        next();
      });
    },
    give() {
      running--;
      if (running === 0) for (const resolve of whenIdle.splice(0)) resolve();
      next();
    },
    next,
    close() {
      isClosed = true;
      for (const { answer } of queue.splice(0)) answer('closed');
    },
    idle: () => (running === 0 ? Promise.resolve() : new Promise((resolve) => whenIdle.push(resolve))),
  };
}
