import t from 'tap';
import { createConnectionCounts } from '../../src/transport/connection-counts.ts';

t.test('counts connections, and handshakes that failed by reason', (t) => {
  const counts = createConnectionCounts();
  counts.accepted += 3;
  counts.plaintextRefused++;
  counts.handshakeFailed('ECONNRESET');
  counts.handshakeFailed('ERR_MESH_PEER_IDENTITY');
  counts.handshakeFailed('ECONNRESET');
  const before = counts.snapshot();
  t.same(before, {
    accepted: 3,
    plaintextRefused: 1,
    tlsRefused: 0,
    handshakesFailed: 3,
    handshakeFailures: { ECONNRESET: 2, ERR_MESH_PEER_IDENTITY: 1 },
  });
  counts.handshakeFailed('ECONNRESET');
  t.equal(before.handshakeFailures['ECONNRESET'], 2, 'what was taken does not change');
  t.end();
});

t.test('the number of reasons has a bound, and known ones go on counting', (t) => {
  const counts = createConnectionCounts();
  for (let i = 0; i < 100; i++) counts.handshakeFailed(`reason ${i}`);
  counts.handshakeFailed('reason 0');
  const { handshakeFailures, handshakesFailed } = counts.snapshot();
  t.equal(handshakesFailed, 101);
  t.equal(Object.keys(handshakeFailures).length, 33);
  t.match(handshakeFailures, { 'reason 0': 2, 'reason 31': 1, other: 68 });
  t.end();
});
