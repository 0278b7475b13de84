import ipaddr from 'ipaddr.js';

export interface EgressOptions {
  /** Ranges in CIDR notation that Actions may reach although they are not public (`USHER_EGRESS_ALLOW`). */
  allow: string[];
  /** Loopback (127.0.0.0/8, ::1) may be reached: on a laptop, where receivers are tried out. */
  loopbackOpen: boolean;
}

/** An address of Usher itself: a name, an address, or `0.0.0.0` and `::` for all of this machine. */
export interface OwnAddress {
  host: string;
  port: number;
}

export interface EgressPolicy {
  /** Why an Action may not connect to the address, e.g. `link-local`; undefined when it may. */
  refusalOf(address: string): string | undefined;
}

/** Public by its number, but the host's own agent on Azure: it hands out certificates and configuration. */
const AZURE_HOST_AGENT = '168.63.129.16';
/** All of IPv6 that is routed publicly today (RFC 4291 §2.4, IANA's registry). */
const IPV6_PUBLIC = ipaddr.parseCIDR('2000::/3');

const NAMES: Record<string, string> = {
  linkLocal: 'link-local',
  carrierGradeNat: 'carrier-grade NAT',
  uniqueLocal: 'unique local',
  rfc6052: 'NAT64',
};

/**
 * Decides by address alone, after the name was resolved. Only public unicast addresses may be reached, unless an
 * allowed range says otherwise; an IPv4 address written as IPv6 is judged as what it is.
 *
 * @throws when a range is not in CIDR notation.
 */
export function createEgressPolicy({ allow, loopbackOpen }: EgressOptions): EgressPolicy {
  const allowed = allow.map(parseRange);
  return {
    refusalOf(address) {
      if (!ipaddr.isValid(address)) return 'not an address';
      const parsed = ipaddr.process(address);
      if (allowed.some(([range, bits]) => range.kind() === parsed.kind() && parsed.match([range, bits]))) return undefined;
      const range = parsed.range();
      if (range === 'loopback' && loopbackOpen) return undefined;
      if (range !== 'unicast') return NAMES[range] ?? range;
      if (parsed.toString() === AZURE_HOST_AGENT) return 'cloud metadata';
      if (parsed.kind() === 'ipv6' && !parsed.match(IPV6_PUBLIC)) return 'reserved';
      return undefined;
    },
  };
}

/** Whether two addresses are one; an IPv4 address written as IPv6 is what it is. */
export function isSameAddress(one: string, other: string): boolean {
  return ipaddr.isValid(one) && ipaddr.isValid(other) && ipaddr.process(one).toNormalizedString() === ipaddr.process(other).toNormalizedString();
}

function parseRange(text: string): [ipaddr.IPv4 | ipaddr.IPv6, number] {
  try {
    return ipaddr.parseCIDR(text);
  } catch (cause) {
    throw new Error(`"${text}" is not a range in CIDR notation, e.g. 10.1.0.0/16 or 127.0.0.1/32.`, { cause });
  }
}
