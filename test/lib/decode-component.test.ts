import fc from 'fast-check';
import t from 'tap';
import { baggageMember } from '../../src/lib/baggage.ts';
import { decodedComponent } from '../../src/lib/decode-component.ts';

function reference(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

t.test('decodes what decodeURIComponent does, and nothing else', async (t) => {
  for (const text of ['', 'a', '%', 'a%', '%4', '%41', '%4g', '%%41', '%00', '%e4', '%c3%a4', '%c3a', '%C3%A4%', '%ff'])
    t.equal(decodedComponent(text), reference(text), text);
  for (const text of ['%ed%a0%80', '%f4%90%80%80', '%c0%80', '%f0%9f%98%80', '%f0%9f%98x%80', 'ä%c3%a4\ud800'])
    t.equal(decodedComponent(text), reference(text), text);
  const part = fc.constantFrom('%', '%c3', '%a4', '%e2', '%82', '%ac', '%f0', '%9f', '%41', 'a', 'ä', '%0', 'F', '%2');
  fc.assert(
    fc.property(
      fc.array(part, { maxLength: 8 }).map((parts) => parts.join('')),
      (text) => {
        return decodedComponent(text) === reference(text);
      },
    ),
    { seed: 6, numRuns: 2_000 },
  );
});

t.test('a member of baggage is found behind others without values', async (t) => {
  t.equal(baggageMember(`${','.repeat(1_000)}b,a=1`, 'a'), '1');
  t.equal(baggageMember('a,b=a,=,a=2,c', 'a'), '2');
  t.equal(baggageMember('b=1,a', 'a'), undefined);
});
