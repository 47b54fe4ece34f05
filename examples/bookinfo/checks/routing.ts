import { topology } from '../demo/topology.ts';
import { type Check, expect, expectComplete, figure, versionsOf, visit } from './check.ts';

const service = (name: string): string => `spiffe://cluster.local/ns/bookinfo/sa/bookinfo-${name}`;

/** Everything is up, and every call between services proved who made it. */
export const allReady: Check = {
  name: 'all services are up, and each proves who it is',
  async run(bookinfo) {
    const missing = topology.filter(({ name }) => bookinfo.figures.get(name)?.stats.identity === undefined);
    expect(missing.length === 0, `without a certificate: ${missing.map(({ name }) => name).join(', ')}`);
    const [visited] = await visit(bookinfo, 1, { 'end-user': 'jason' });
    expect(visited?.page?.details.ok && visited.page.reviews.ok, 'the page lacks a part');
    const { hop, details, reviews } = visited.page;
    const { ratings } = reviews.value;
    expect(hop.caller === null, `productpage saw the identity ${hop.caller} in a caller that has none`);
    expect(details.value.hop.caller === service('productpage'), `details was called by ${details.value.hop.caller}`);
    expect(reviews.value.hop.caller === service('productpage'), `reviews was called by ${reviews.value.hop.caller}`);
    expect(ratings !== undefined && 'hop' in ratings, 'no ratings');
    expect(ratings.hop.caller === service('reviews'), `ratings was called by ${ratings.hop.caller}`);
    const ids = new Set([hop, details.value.hop, reviews.value.hop, ratings.hop].map((h) => h.requestId));
    expect(ids.size === 1 && !ids.has(''), `the request id changed on the way: ${[...ids].join(', ')}`);
    return `${topology.length} services, 4 hops, 3 of them mTLS, one request id`;
  },
};

/** The header match of the VirtualService. */
export const jasonGetsV2: Check = {
  name: 'end-user: jason gets reviews v2',
  async run(bookinfo) {
    const visits = await visit(bookinfo, 100, { 'end-user': 'jason' });
    expectComplete(visits);
    const { v2 } = versionsOf(visits);
    expect(v2 === visits.length, `only ${v2} of ${visits.length}`);
    const login = await fetch(new URL('/login', bookinfo.url), {
      method: 'POST',
      body: new URLSearchParams({ user: 'jason' }),
      redirect: 'manual',
    });
    await login.body?.cancel();
    const cookie = login.headers.get('set-cookie')?.split(';')[0];
    expect(login.status === 303 && cookie !== undefined, `signing in answered ${login.status}`);
    const signedIn = await visit(bookinfo, 20, { cookie });
    expect(versionsOf(signedIn).v2 === signedIn.length, 'signed in through the page: not always v2');
    return `${v2} of ${visits.length} by header, ${signedIn.length} of ${signedIn.length} signed in`;
  },
};

/** The weights of the VirtualService. */
export const split: Check = {
  name: 'weights 90/10 split the traffic 90/10, ± 3 %',
  async run(bookinfo) {
    const total = 2_000;
    const started = performance.now();
    const visits = await visit(bookinfo, total);
    const seconds = (performance.now() - started) / 1_000;
    expectComplete(visits);
    const { v1, v2, v3 } = versionsOf(visits);
    const percent = (count: number): string => `${((count * 100) / total).toFixed(1)} %`;
    const figures = `v1 ${percent(v1)}, v3 ${percent(v3)} of ${figure(total)} requests`;
    expect(v2 === 0, `${v2} requests of nobody in particular went to v2`);
    expect(Math.abs(v1 / total - 0.9) <= 0.03 && Math.abs(v3 / total - 0.1) <= 0.03, figures);
    return `${figures}, ${Math.round(total / seconds)} pages/s`;
  },
};
