import { defineConfig } from 'vitest/config';

/**
 * Left out are files that do not use the store, or not more than others do (the deploy CLI and the migration, which take
 * minutes), and those that break SQLite's file on purpose.
 */
const ON_POSTGRES = [
  'test/http/{action-test,clients,connections,executions-logs,flow,grants,hostile-input,jobs,oauth,operations,policies,registrations,roles,signup,tenants,users,usher-executions}.test.ts',
  'test/clients/{actions-sdk,applications-sdk,authentication-sdk,jobs-sdk,terraform-replay,users-sdk}.test.ts',
  'test/contract/scopes.test.ts',
  'test/workflows/{commands,flow,policies,user-registration}.test.ts',
  'test/authentication/*.test.ts',
  'test/registration/{outside-examples,pre-user-registration,ways-in}.test.ts',
  'test/protect/{routes,rows}.test.ts',
  'test/observe/requests.test.ts',
];

// Each file in a process of its own: the Temporal core and the sandboxes do not survive worker threads.
export default defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    // A fresh machine builds Temporal's server first, which takes longer than any hook may.
    globalSetup: ['test/helpers/fetch-servers.ts'],
    pool: 'forks',
    // A test may start Usher more than once: two busy processors, which its worker gives to others, take minutes for that.
    testTimeout: 240_000,
    hookTimeout: 300_000,
    // Vitest's second is too short for a busy machine; what never comes is still told within the test's time.
    expect: { poll: { timeout: 30_000, interval: 20 } },
    projects: [
      { extends: true, test: { name: 'side by side', include: ['test/**/*.test.ts'], exclude: ['test/crash/**'], maxWorkers: 2, sequence: { groupOrder: 0 } } },
      // What the API, its clients and the workflow do, on the store of larger installations; the tests of the store itself run on
      // both by themselves.
      { extends: true, test: { name: 'on PostgreSQL', globalSetup: ['test/helpers/postgres-server.ts'], include: ON_POSTGRES, maxWorkers: 2, sequence: { groupOrder: 1 } } },
      // Each of these is a dozen processes that are killed and started again: beside others, all would wait for each other.
      { extends: true, test: { name: 'alone', globalSetup: ['test/crash/test-cluster.ts'], include: ['test/crash/**/*.test.ts'], maxWorkers: 1, sequence: { groupOrder: 2 } } },
    ],
  },
});
