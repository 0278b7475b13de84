export { postgresMissing, type PostgresServer, startPostgres } from '../../examples/cluster/postgres.ts';
