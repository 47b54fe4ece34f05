// Endpoints that are somebody else.
import type { RequestListener } from 'node:http';
import type { ChaosCase } from '../case.ts';
import { load } from '../load.ts';
import { mutualLab } from '../mutual.ts';
import { eager } from '../resources.ts';

export const identityCases: readonly ChaosCase[] = [
  {
    id: 'EP-22',
    fault: 'the right address proves the wrong identity',
    expected: 'no request is delivered to it; another endpoint answers; it is ejected',
    quick: true,
    async run(lab) {
      const { mesh: meshOf, place, serve } = mutualLab(lab);
      const delivered: Record<string, number> = {};
      const countFor =
        (name: string): RequestListener =>
        (_, response) => {
          delivered[name] = (delivered[name] ?? 0) + 1;
          response.end(name);
        };
      const shop = await serve('shop', countFor('shop'));
      const stranger = await serve('stranger', countFor('stranger'));
      const policy = { outlierDetection: eager };
      const mesh = await meshOf({ endpoints: [place(shop), place(stranger)], policy });
      let warned = 0;
      mesh.on('endpoint', () => warned++);
      const count = lab.count(1_000, 300, 60);
      const tally = await load(mesh, { count, method: 'POST', body: 'secret' });
      lab.equal('visible failures', tally.failures, 0);
      lab.equal('delivered', delivered, { shop: count });
      lab.check(warned > 0, `told of the endpoint: ${warned} times`);
    },
  },
];
