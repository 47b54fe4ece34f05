import { createAuthority } from '@inmesh/ca';
import { createCsr, type DerNode, derChildren, generateIdentityKey, readDer } from 'inmesh/identity';
import t from 'tap';

/** Times as they are in the list, `261121184225Z`: those of one century can be compared as text. */
function timesOf(pem: string): { readonly thisUpdate: string; readonly revoked: readonly string[] } {
  const base64 = pem.replaceAll(/-----[^-]+-----|\s/g, '');
  const [tbs] = derChildren(readDer(Buffer.from(base64, 'base64')));
  if (tbs === undefined) throw new Error('not a list');
  const fields = derChildren(tbs);
  // Without entries the field is not there.
  const entries = fields.length === 7 ? derChildren(fields[5] as DerNode) : [];
  return {
    thisUpdate: textOf(fields[3]),
    revoked: entries.map((entry) => textOf(derChildren(entry)[1])),
  };
}

function textOf(node: DerNode | undefined): string {
  return Buffer.from(node?.content ?? []).toString('latin1');
}

t.test('nothing was revoked after the time that its list speaks of', async (t) => {
  const authority = createAuthority();
  const id = 'spiffe://cluster.local/ns/shop/sa/web';
  const { serial } = authority.signCsr(createCsr(id, generateIdentityKey()), id);
  t.same(authority.revoke({ serial }), [serial]);
  const lists = authority.crls().map(timesOf);
  t.same(
    lists.flatMap(({ revoked, thisUpdate }) => revoked.map((time) => time <= thisUpdate)),
    [true],
    'a list speaks of its thisUpdate, which is a little in the past for the sake of other clocks',
  );
});
