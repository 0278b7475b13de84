import { createHash, createPublicKey, type KeyObject, randomBytes, sign } from 'node:crypto';
import { isIP } from 'node:net';
import { AsnConvert, OctetString } from '@peculiar/asn1-schema';
import * as asn1 from '@peculiar/asn1-x509';

/** RFC 5758 §3.2. */
const ECDSA_WITH_SHA256 = '1.2.840.10045.4.3.2';
/** RFC 5280 appendix A.1: the attribute `commonName`. */
const COMMON_NAME = '2.5.4.3';

const DAY_MS = 24 * 60 * 60 * 1000;
/** For as long as somebody keeps a checkout: it is what people put into their tools. */
const AUTHORITY_DAYS = 3650;
/** Browsers take no server's certificate that is valid for more than 398 days. */
const SERVER_DAYS = 396;
/** Clients whose clocks are late accept it, too. */
const BACKDATED_MS = 60 * 60 * 1000;

/**
 * Makes the certificate of an authority that signs servers' certificates and no other authorities; valid for 10 years.
 *
 * @param privateKey of the curve P-256, as all keys here.
 * @returns it in PEM.
 */
export function issueAuthority(privateKey: KeyObject): string {
  const publicKey = createPublicKey(privateKey);
  return issue({ commonName: authorityName(publicKey), publicKey, authorityKey: privateKey, days: AUTHORITY_DAYS, extensions: authorityExtensions() });
}

/**
 * Makes the certificate of a server, in the profile of RFC 5280 that OpenSSL, Node and browsers ask for; valid for 396 days.
 *
 * @param request.names host names and addresses.
 * @returns it in PEM.
 */
export function issueServerCertificate(request: { publicKey: KeyObject; authorityKey: KeyObject; names: string[] }): string {
  return issue({ ...request, commonName: 'Usher', days: SERVER_DAYS, extensions: serverExtensions(request.names) });
}

function issue(request: { commonName: string; publicKey: KeyObject; authorityKey: KeyObject; days: number; extensions: asn1.Extension[] }): string {
  const { publicKey, authorityKey } = request;
  const authority = createPublicKey(authorityKey);
  const algorithm = new asn1.AlgorithmIdentifier({ algorithm: ECDSA_WITH_SHA256 });
  const notBefore = Date.now() - BACKDATED_MS;
  const tbsCertificate = new asn1.TBSCertificate({
    version: asn1.Version.v3,
    serialNumber: serialNumber(),
    signature: algorithm,
    issuer: nameOf(authorityName(authority)),
    validity: new asn1.Validity({ notBefore: new Date(notBefore), notAfter: new Date(notBefore + request.days * DAY_MS) }),
    subject: nameOf(request.commonName),
    subjectPublicKeyInfo: keyInfo(publicKey),
    extensions: new asn1.Extensions([
      ...request.extensions,
      extension(asn1.id_ce_subjectKeyIdentifier, new asn1.SubjectKeyIdentifier(keyId(publicKey))),
      extension(asn1.id_ce_authorityKeyIdentifier, new asn1.AuthorityKeyIdentifier({ keyIdentifier: new asn1.KeyIdentifier(keyId(authority)) })),
    ]),
  });
  const signature = sign('sha256', Buffer.from(AsnConvert.serialize(tbsCertificate)), authorityKey);
  const certificate = new asn1.Certificate({ tbsCertificate, signatureAlgorithm: algorithm, signatureValue: bytes(signature) });
  return pem(Buffer.from(AsnConvert.serialize(certificate)));
}

/** Of its own, so that no client takes one installation's authority for another's. */
function authorityName(publicKey: KeyObject): string {
  return `Usher local CA ${Buffer.from(keyId(publicKey)).toString('hex').slice(0, 16)}`;
}

function authorityExtensions(): asn1.Extension[] {
  const { keyCertSign, cRLSign } = asn1.KeyUsageFlags;
  return [
    extension(asn1.id_ce_basicConstraints, new asn1.BasicConstraints({ cA: true, pathLenConstraint: 0 }), true),
    extension(asn1.id_ce_keyUsage, new asn1.KeyUsage(keyCertSign | cRLSign), true),
  ];
}

function serverExtensions(names: string[]): asn1.Extension[] {
  const general = names.map((name) => new asn1.GeneralName(isIP(name) === 0 ? { dNSName: name } : { iPAddress: name }));
  return [
    extension(asn1.id_ce_basicConstraints, new asn1.BasicConstraints({ cA: false }), true),
    extension(asn1.id_ce_keyUsage, new asn1.KeyUsage(asn1.KeyUsageFlags.digitalSignature), true),
    extension(asn1.id_ce_extKeyUsage, new asn1.ExtendedKeyUsage([asn1.id_kp_serverAuth])),
    extension(asn1.id_ce_subjectAltName, new asn1.SubjectAlternativeName(general)),
  ];
}

function extension(extnID: string, value: object, critical = false): asn1.Extension {
  return new asn1.Extension({ extnID, critical, extnValue: new OctetString(AsnConvert.serialize(value)) });
}

function nameOf(commonName: string): asn1.Name {
  const value = new asn1.AttributeValue({ utf8String: commonName });
  return new asn1.Name([new asn1.RelativeDistinguishedName([new asn1.AttributeTypeAndValue({ type: COMMON_NAME, value })])]);
}

/** 127 random bits: positive, as RFC 5280 §4.1.2.2 wants it, and never zero at the front. */
function serialNumber(): ArrayBuffer {
  const random = randomBytes(16);
  random[0] = (random[0]! & 0x7f) | 0x40;
  return bytes(random);
}

/** RFC 7093 §2, method 1: 160 bits of the SHA-256 of the key. */
function keyId(publicKey: KeyObject): ArrayBuffer {
  const { subjectPublicKey } = keyInfo(publicKey);
  return bytes(createHash('sha256').update(Buffer.from(subjectPublicKey)).digest().subarray(0, 20));
}

function keyInfo(publicKey: KeyObject): asn1.SubjectPublicKeyInfo {
  return AsnConvert.parse(publicKey.export({ type: 'spki', format: 'der' }), asn1.SubjectPublicKeyInfo);
}

/** A buffer of its own: Node's small ones share one. */
function bytes(buffer: Buffer): ArrayBuffer {
  return new Uint8Array(buffer).buffer;
}

function pem(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
}
