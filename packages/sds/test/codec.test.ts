import fc from 'fast-check';
import t from 'tap';
import { readDeltaRequest } from '../src/delta.ts';
import { readDiscoveryRequest, readDiscoveryResponse, secretType, writeDiscoveryRequest } from '../src/discovery.ts';
import { certificateSecret, federatedSecret, readSecret, rootsSecret } from '../src/secret.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
const ascii = (text: string): string => Buffer.from(text).toString('hex');

t.test('a request has the field numbers of Envoy’s API', async (t) => {
  const bytes = writeDiscoveryRequest({
    versionInfo: 'v',
    nodeId: 'n',
    resourceNames: ['a', 'b'],
    typeUrl: 't',
    responseNonce: 'x',
    errorDetail: { code: 3, message: 'm' },
  });
  // version_info 1, node 2 { id 1, user_agent_name 6, user_agent_build_version 8 { version 1 { 1.18 } } },
  // resource_names 3, type_url 4, response_nonce 5, error_detail 6 { code 1, message 2 }
  const node = `0a01 6e 3206 ${ascii('inmesh')} 4206 0a04 0801 1012`;
  t.equal(
    bytes.toString('hex'),
    `0a0176 1213 ${node} 1a0161 1a0162 220174 2a0178 3205 0803 12016d`.replaceAll(' ', ''),
  );
});

t.test('secrets have the field numbers of Envoy’s API', async (t) => {
  t.equal(certificateSecret('d', 'C', 'K').typeUrl, secretType);
  // name 1, tls_certificate 2 { certificate_chain 1 { inline_bytes 2 }, private_key 2 { inline_bytes 2 } }
  t.equal(Buffer.from(certificateSecret('d', 'C', 'K').value).toString('hex'), '0a0164120a0a03120143120312014b');
  // name 1, validation_context 4 { trusted_ca 1 { inline_bytes 2 } }
  t.equal(Buffer.from(rootsSecret('R', ['A', 'B']).value).toString('hex'), '0a015222060a0412024142');
  const validator = `${ascii('envoy.tls.cert_validator.spiffe')}`;
  const federated = Buffer.from(federatedSecret('R', new Map([['x', ['A']]])).value).toString('hex');
  t.match(federated, new RegExp(`^0a0152 22..01 62..01 0a1f${validator}`.replaceAll(' ', '')));
  // SPIFFECertValidatorConfig: trust_domains 1 { name 1, trust_bundle 2 { inline_bytes 2 } }
  t.match(federated, /0a080a01781203120141$/);
});

t.test('an answer is read, whatever else is in it', async (t) => {
  // version 1, resource 2 { type_url 1, value 2 }, canary 3, type_url 4, nonce 5, control_plane 6
  const response = readDiscoveryResponse(hex('0a0131 12060a0174120176 1801 220154 2a016e 32030a0163'));
  t.match(response, { versionInfo: '1', typeUrl: 'T', nonce: 'n' });
  t.same(
    response.resources.map(({ typeUrl, value }) => [typeUrl, Buffer.from(value).toString()]),
    [['t', 'v']],
  );
});

t.test('more than anybody needs is refused', async (t) => {
  t.throws(() => readDiscoveryRequest(Buffer.from('1a0161'.repeat(65), 'hex')), /more than 64 names/);
  t.throws(() => readDiscoveryResponse(Buffer.from('1200'.repeat(65), 'hex')), /more than 64 resources/);
  t.throws(() => readDiscoveryResponse(Buffer.from('1801'.repeat(1_025), 'hex')), /more than 1024 fields/);
  const versions = Array.from({ length: 65 }, (_, i) => `2a030a01${(0x30 + i).toString(16)}`);
  t.throws(() => readDeltaRequest(Buffer.from(versions.join(''), 'hex')), /more than 64 versions/);
});

t.test('bytes of any kind are a message or an error, and nothing else happens', async (t) => {
  const good = [certificateSecret('default', 'C', 'K'), federatedSecret('ALL', new Map([['x', ['A']]]))];
  const changed = fc
    .tuple(fc.constantFrom(...good), fc.nat(), fc.nat(255))
    .map(([{ value }, at, byte]) => Buffer.from(value).fill(byte, at % value.length, (at % value.length) + 1));
  const readers = [readDiscoveryRequest, readDiscoveryResponse, readDeltaRequest];
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), changed), (bytes) => {
      for (const read of [...readers, (value: Uint8Array) => readSecret({ typeUrl: secretType, value })]) {
        try {
          read(bytes);
        } catch (error) {
          if (!(error instanceof Error)) return false;
        }
      }
      return true;
    }),
    { numRuns: 2_000 },
  );
  t.pass();
});
