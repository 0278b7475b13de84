import { once } from 'node:events';
import net from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ownAddresses } from '../../src/roles/role.ts';
import { type ConnectRequest, createBroker, EgressError } from '../../src/sandbox/broker.ts';
import { createEgressPolicy, type OwnAddress } from '../../src/sandbox/egress-policy.ts';

const closed = createEgressPolicy({ allow: [], loopbackOpen: false });

test.each([
  ['127.0.0.1', 'loopback'],
  ['127.255.255.254', 'loopback'],
  ['::1', 'loopback'],
  ['0.0.0.0', 'unspecified'],
  ['::', 'unspecified'],
  ['10.0.0.1', 'private'],
  ['172.16.0.1', 'private'],
  ['172.31.255.255', 'private'],
  ['192.168.1.1', 'private'],
  ['169.254.169.254', 'link-local'],
  ['168.63.129.16', 'cloud metadata'],
  ['100.100.100.200', 'carrier-grade NAT'],
  ['192.0.0.192', 'reserved'],
  ['198.18.0.1', 'reserved'],
  ['224.0.0.1', 'multicast'],
  ['240.0.0.1', 'reserved'],
  ['255.255.255.255', 'broadcast'],
  ['fe80::1', 'link-local'],
  ['fe80::1%eth0', 'link-local'],
  ['fd00:ec2::254', 'unique local'],
  ['ff02::1', 'multicast'],
  ['2001:db8::1', 'reserved'],
  ['::ffff:127.0.0.1', 'loopback'],
  ['::ffff:7f00:1', 'loopback'],
  ['::ffff:169.254.169.254', 'link-local'],
  ['64:ff9b::a00:1', 'NAT64'],
  ['2002:7f00:1::', '6to4'],
])('%s is refused as %s', (address, reason) => {
  expect(closed.refusalOf(address)).toBe(reason);
});

test.each(['::127.0.0.1', 'fec0::1', '100::1', '5f00::1', 'localhost', '', '2130706433x'])('%s is refused', (address) => {
  expect(closed.refusalOf(address)).toBeDefined();
});

test.each(['1.1.1.1', '8.8.8.8', '172.32.0.1', '2606:4700::1111', '::ffff:1.1.1.1'])('%s may be reached', (address) => {
  expect(closed.refusalOf(address)).toBeUndefined();
});

test('open loopback opens loopback and nothing else', () => {
  const policy = createEgressPolicy({ allow: [], loopbackOpen: true });
  expect(['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1'].map(policy.refusalOf)).toEqual([undefined, undefined, undefined, undefined]);
  expect(['0.0.0.0', '::', '10.0.0.1', '169.254.169.254'].map((address) => policy.refusalOf(address) !== undefined)).toEqual([true, true, true, true]);
});

test('an allowed range opens exactly itself', () => {
  const policy = createEgressPolicy({ allow: ['10.1.0.0/16', 'fd12::/16'], loopbackOpen: false });
  expect(['10.1.255.1', '::ffff:10.1.0.1', 'fd12::1'].map(policy.refusalOf)).toEqual([undefined, undefined, undefined]);
  expect(['10.2.0.1', 'fd13::1', '127.0.0.1'].map(policy.refusalOf)).toEqual(['private', 'unique local', 'loopback']);
});

test.each(['10.1.0.0', '10.1.0.0/33', 'example.com/8', ''])('"%s" is refused as a range, with an example of one', (range) => {
  expect(() => createEgressPolicy({ allow: [range], loopbackOpen: false })).toThrow(`"${range}" is not a range in CIDR notation, e.g. 10.1.0.0/16`);
});

test('a process that lies about the address of a host does not get to it', async () => {
  const broker = createBroker(closed, () => []).open();
  const lie = { host: '127.0.0.1', port: 9, family: 0 as const, addresses: ['1.1.1.1'] };
  await expect(broker.connect(1, lie)).rejects.toMatchObject({ details: { code: 'EUSHEREGRESS' } });
  const other = { host: 'example.com', port: 9, family: 0 as const, addresses: ['169.254.169.254', 'not an address'] };
  await expect(broker.connect(2, other)).rejects.toBeInstanceOf(EgressError);
});

describe("Usher's own address", () => {
  const server = net.createServer((socket) => socket.end());
  const other = net.createServer((socket) => socket.end());
  const portOf = (of: net.Server): number => (of.address() as net.AddressInfo).port;
  beforeAll(() => Promise.all([server, other].map((each) => once(each.listen(0, '127.0.0.1'), 'listening'))));
  afterAll(() => {
    server.close();
    other.close();
  });

  async function reaches(own: OwnAddress[], to: Omit<ConnectRequest, 'family'>): Promise<boolean> {
    try {
      (await createBroker(closed, () => own).open().connect(1, { family: 0, ...to })).destroy();
      return true;
    } catch (error) {
      if ((error as EgressError).details.code === 'EUSHEREGRESS') return false;
      throw error;
    }
  }

  test.each(['127.0.0.1', 'localhost', '0.0.0.0', '::'])('as %s is open by its address and by each name of it', async (host) => {
    const own = [{ host, port: portOf(server) }];
    for (const name of ['127.0.0.1', 'localhost', '::ffff:127.0.0.1']) expect(await reaches(own, { host: name, port: portOf(server) }), name).toBe(true);
    await expect(createBroker(closed, () => own).open().resolve(1, 'localhost', 4)).resolves.toEqual([{ address: '127.0.0.1', family: 4 }]);
  });

  test.each(['127.0.0.1', 'localhost', '0.0.0.0'])('as %s opens no other port and no other address', async (host) => {
    const own = [{ host, port: portOf(server) }];
    expect(await reaches(own, { host: '127.0.0.1', port: portOf(other) })).toBe(false);
    expect(await reaches(own, { host: 'localhost', port: portOf(other) })).toBe(false);
    expect(await reaches(own, { host: '169.254.169.254', port: portOf(server) })).toBe(false);
    // The name of Usher with an address of the process's own choice.
    expect(await reaches(own, { host: 'localhost', port: portOf(server), addresses: ['10.0.0.1'] })).toBe(false);
  });

  test('that no name server knows opens nothing', async () => {
    expect(await reaches([{ host: 'usher.invalid', port: portOf(server) }], { host: '127.0.0.1', port: portOf(server) })).toBe(false);
  });

  test('is where the API listens, and where clients are told that it is', () => {
    const of = (publicUrl: string | null) => ownAddresses({ host: '10.0.0.7', publicUrl }, 3000);
    const listening = { host: '10.0.0.7', port: 3000 };
    expect(of(null)).toEqual([listening]);
    expect(of('https://usher.example.com')).toEqual([listening, { host: 'usher.example.com', port: 443 }]);
    expect(of('http://usher.example.com')).toEqual([listening, { host: 'usher.example.com', port: 80 }]);
    expect(of('https://[fd00::7]:8443')).toEqual([listening, { host: 'fd00::7', port: 8443 }]);
  });

  test('is open from when it is told', async () => {
    let own: OwnAddress[] = [];
    const broker = createBroker(closed, () => own).open();
    const to = { host: '127.0.0.1', port: portOf(server), family: 0 as const };
    await expect(broker.connect(1, to)).rejects.toBeInstanceOf(EgressError);
    own = [{ host: '127.0.0.1', port: portOf(server) }];
    (await broker.connect(2, to)).destroy();
  });
});

test('a name is judged by the addresses that it resolves to', async () => {
  const broker = createBroker(closed, () => []).open();
  for (const host of ['localhost', '2130706433', '127.1', '0x7f.1']) {
    await expect(broker.resolve(1, host, 0)).rejects.toMatchObject({ details: { code: 'EUSHEREGRESS', hostname: host } });
  }
});
