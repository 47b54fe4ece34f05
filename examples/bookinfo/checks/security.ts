import { openAuthority } from '@inmesh/ca';
import type { Bookinfo } from '../demo/bookinfo.ts';
import type { Message } from '../demo/messages.ts';
import { intruder, topology } from '../demo/topology.ts';
import { certificateOf, knock, strangeAuthority } from './callers.ts';
import { type Check, expect } from './check.ts';

/** A good certificate is not a permission. */
export const wrongCaller: Check = {
  name: 'a meshed caller whom no policy allows gets 403',
  async run(bookinfo) {
    const process = await bookinfo.startWorkload(intruder);
    const urls = ['http://ratings:9080/ratings/0', 'http://reviews:9080/reviews/0', 'http://details:9080/details/0'];
    for (const [id, url] of urls.entries()) {
      const answer = answerOf(bookinfo, id);
      process.send({ id, url });
      const { status, error } = await answer;
      expect(status === 403 && error === 'ERR_MESH_FORBIDDEN', `${url} answered ${status} ${error}`);
    }
    await process.stop(2_000);
    return `${intruder.serviceAccount}: refused by ratings, reviews and details`;
  },
};

function answerOf(bookinfo: Bookinfo, id: number): Promise<Extract<Message, { kind: 'answer' }>> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('the intruder does not answer')), 10_000);
    bookinfo.on('message', function listen(_from, message) {
      if (message.kind !== 'answer' || message.id !== id) return;
      clearTimeout(timer);
      bookinfo.off('message', listen);
      resolve(message);
    });
  });
}

/** STRICT means that nobody without a certificate of this mesh gets as far as HTTP. */
export const noCertificate: Check = {
  name: 'a caller without a certificate of this mesh is refused',
  async run(bookinfo) {
    const caller = 'spiffe://cluster.local/ns/bookinfo/sa/bookinfo-productpage';
    const own = certificateOf(openAuthority(bookinfo.folder.authorityFolder), caller);
    const forged = certificateOf(strangeAuthority(), caller);
    const strict = topology.filter(({ app }) => app !== 'productpage');
    let refused = 0;
    for (const { name, app } of strict) {
      const port = bookinfo.portOf(name) ?? 0;
      for (const credential of ['plain HTTP', 'no certificate', forged] as const) {
        const outcome = await knock(port, `/${app}/0`, credential);
        const shown = typeof credential === 'string' ? credential : 'a certificate of another authority';
        expect(outcome.refused, `${name} answered ${outcome.what} to ${shown}`);
        refused++;
      }
    }
    // The same caller with a certificate of this mesh gets in: it was the certificate that was missing.
    const details = await knock(bookinfo.portOf('details-v1') ?? 0, '/details/0', own);
    expect(details.what === 'status 200', `details answered ${details.what} to a good certificate`);
    return `plain HTTP, TLS without certificate, certificate of another authority: ${refused} of ${refused} refused`;
  },
};
