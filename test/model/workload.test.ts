import t from 'tap';
import { clusterName } from '../../src/model/cluster.ts';
import { describeProvenance } from '../../src/model/provenance.ts';
import { workloadSpiffeId } from '../../src/model/workload.ts';

t.test('the SPIFFE ID of a workload is written as Istio writes it', async (t) => {
  const workload = {
    name: 'reviews-v2',
    namespace: 'bookinfo',
    serviceAccount: 'reviews',
    labels: {},
    trustDomain: 'example.org',
    clusterDomain: 'cluster.local',
  };
  t.equal(workloadSpiffeId(workload), 'spiffe://example.org/ns/bookinfo/sa/reviews');
});

t.test('the name of a cluster is that of Istio', async (t) => {
  t.equal(clusterName('reviews.bookinfo.svc.cluster.local', 9080), 'outbound|9080||reviews.bookinfo.svc.cluster.local');
  t.equal(clusterName('reviews', 80, 'v1'), 'outbound|80|v1|reviews');
});

t.test('provenance reads like a compiler message, as far as it is known', async (t) => {
  const at = { kind: 'VirtualService', namespace: 'bookinfo', name: 'reviews' };
  t.equal(describeProvenance(at), 'VirtualService bookinfo/reviews');
  t.equal(describeProvenance({ ...at, file: 'a.yaml' }), 'VirtualService bookinfo/reviews (a.yaml:1:1)');
  t.equal(
    describeProvenance({ ...at, file: 'a.yaml', line: 12, column: 3 }),
    'VirtualService bookinfo/reviews (a.yaml:12:3)',
  );
});
