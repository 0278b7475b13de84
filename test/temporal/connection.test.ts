import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporalSettings } from '../../src/temporal/connection.ts';

test("Temporal's own environment variables say where it is and how to get in", () => {
  expect(temporalSettings({})).toEqual({ address: null, namespace: 'default', security: {} });
  expect(temporalSettings({ TEMPORAL_ADDRESS: '', TEMPORAL_NAMESPACE: '' })).toEqual({ address: null, namespace: 'default', security: {} });
  expect(temporalSettings({ TEMPORAL_ADDRESS: 'temporal.example:7233', TEMPORAL_NAMESPACE: 'users' })).toEqual({
    address: 'temporal.example:7233',
    namespace: 'users',
    security: {},
  });
  const { security } = temporalSettings({
    TEMPORAL_ADDRESS: 'x:1',
    TEMPORAL_API_KEY: 'key',
    TEMPORAL_TLS_SERVER_NAME: 'other.example',
    TEMPORAL_GRPC_META_TENANT: 'acme',
  });
  expect(security).toMatchObject({ apiKey: 'key', tls: { serverNameOverride: 'other.example' }, metadata: { tenant: 'acme' } });
});

test('an API key switches TLS on', () => {
  expect(temporalSettings({ TEMPORAL_ADDRESS: 'x:1', TEMPORAL_API_KEY: 'key' }).security.tls).toBe(true);
});

test('a certificate without its key, or a file that is not there, is an error that names it', () => {
  expect(() => temporalSettings({ TEMPORAL_TLS_CLIENT_CERT_PATH: '/c.pem' })).toThrow('TEMPORAL_TLS_CLIENT_KEY_PATH');
  expect(() => temporalSettings({ TEMPORAL_TLS_SERVER_CA_CERT_PATH: '/no/such.pem' })).toThrow('/no/such.pem');
});

test('a configuration file is read only when it is named', async () => {
  const home = await mkdtemp(join(tmpdir(), 'usher-home-'));
  const file = join(home, 'temporal.toml');
  await writeFile(file, '[profile.default]\naddress = "production.example:7233"\n[profile.mine]\naddress = "mine.example:7233"\n');
  expect(temporalSettings({ XDG_CONFIG_HOME: home, HOME: home }).address).toBeNull();
  expect(temporalSettings({ TEMPORAL_CONFIG_FILE: file }).address).toBe('production.example:7233');
  expect(temporalSettings({ TEMPORAL_CONFIG_FILE: file, TEMPORAL_PROFILE: 'mine' }).address).toBe('mine.example:7233');
  expect(() => temporalSettings({ TEMPORAL_PROFILE: 'mine' })).toThrow('TEMPORAL_CONFIG_FILE');
  await rm(home, { recursive: true });
});
