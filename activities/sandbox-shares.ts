/** Keeps one Action from taking all sandboxes of this worker. */
export interface SandboxShares {
  /** For one attempt. */
  open(): Share;
}

export interface Share {
  /** Takes a sandbox of the Action's share; false when it has no more. */
  take(actionId: string): boolean;
  /** Gives it back, if one was taken. */
  give(): void;
}

/** @param most that one Action may have at a time. */
export function createSandboxShares(most: number): SandboxShares {
  const taken = new Map<string, number>();
  return {
    open() {
      let mine: string | undefined;
      return {
        take(actionId) {
          const count = taken.get(actionId) ?? 0;
          if (count >= most) return false;
          taken.set(actionId, count + 1);
          mine = actionId;
          return true;
        },
        give() {
          if (mine === undefined) return;
          const count = taken.get(mine) ?? 0;
          if (count > 1) taken.set(mine, count - 1);
          else taken.delete(mine);
          mine = undefined;
        },
      };
    },
  };
}
