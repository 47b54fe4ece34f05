import t from 'tap';
import { schemeOf, schemeOfRequest } from '../../src/config/go-url.ts';

/** What `url.Parse` and `url.ParseRequestURI` of Go make of a text: the scheme, or nothing when they fail. */
const cases: readonly (readonly [text: string, parse: string | undefined, request: string | undefined])[] = [
  ['https://a.b/c?d=e', 'https', 'https'],
  ['HTTP://a', 'http', 'http'],
  ['a/b', '', undefined],
  ['/a/b', '', ''],
  ['*', '', ''],
  ['', '', undefined],
  ['mailto:a@b', 'mailto', 'mailto'],
  ['a:b', 'a', 'a'],
  ['1a:b', undefined, undefined],
  ['a/b:c', '', undefined],
  [':a', undefined, undefined],
  ['//a/b', '', ''],
  ['http://a:80', 'http', 'http'],
  ['http://a:', 'http', 'http'],
  ['http://a:b', undefined, undefined],
  ['http://[::1]:80/a', 'http', 'http'],
  ['http://[::1', undefined, undefined],
  ['http://[::1]a', undefined, undefined],
  ['http://user:secret@a', 'http', 'http'],
  ['http://us er@a', undefined, undefined],
  ['http://u%zz@a', undefined, undefined],
  ['http://a b/c', undefined, undefined],
  ['http://a/b c', 'http', 'http'],
  ['http://a<b', undefined, undefined],
  ['http://a%20b', undefined, undefined],
  ['http://a%C3%A4', 'http', 'http'],
  ['http://a/%41', 'http', 'http'],
  ['http://a/%4', undefined, undefined],
  ['http://a?%zz', 'http', 'http'],
  ['http://a#%41', 'http', undefined],
  ['http://a#%zz', undefined, undefined],
  ['http://a/#b', 'http', 'http'],
  ['http://a\u0007', undefined, undefined],
];

for (const [text, parsed, request] of cases) {
  t.test(`${JSON.stringify(text)}`, async (t) => {
    t.equal(schemeOf(text), parsed, 'as url.Parse');
    t.equal(schemeOfRequest(text), request, 'as url.ParseRequestURI');
  });
}
