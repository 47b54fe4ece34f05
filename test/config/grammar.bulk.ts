import t from 'tap';
import { seededRandom } from '../../src/lib/random.ts';
import { randomResource, randomText, tryText } from './grammar.ts';

t.test(
  'CFG-024 documents by the grammar of every kind are accepted or refused with a place, and mean one thing',
  async (t) => {
    const random = seededRandom(20_261_121);
    const pick = (below: number): number => Math.floor(random() * below);
    let accepted = 0;
    for (let i = 0; i < 1_200; i++) {
      const text = randomText(randomResource(pick), pick);
      const verdict = tryText(text);
      if (verdict.wrong !== undefined) t.fail(`${verdict.wrong}:\n${text}`);
      if (verdict.accepted) accepted++;
    }
    t.ok(accepted > 50 && accepted < 1_150, `${accepted} of 1,200 were good`);
    t.same(Object.keys(Object.prototype), []);
  },
);
