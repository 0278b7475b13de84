import { defineConfig } from 'vitest/config';

// Each file in a process of its own: the Temporal core and the sandboxes do not survive worker threads.
export default defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    include: ['test/**/*.test.ts'],
    // A fresh machine builds Temporal's server first, which takes longer than any hook may.
    globalSetup: ['test/helpers/fetch-servers.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 300_000,
  },
});
