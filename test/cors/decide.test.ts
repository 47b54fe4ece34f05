import t from 'tap';
import { compileCors } from '../../src/cors/decide.ts';
import type { CorsPolicy } from '../../src/model/route.ts';

const policy: CorsPolicy = {
  allowOrigins: [{ kind: 'exact', value: 'https://a.example' }],
  allowMethods: ['GET', 'POST'],
  allowHeaders: ['x-a', 'x-b'],
  exposeHeaders: ['x-seen', 'x-too'],
  maxAgeMs: 90_500,
  allowCredentials: true,
  forwardUnmatchedPreflights: true,
};
const decide = (changes: Partial<CorsPolicy>, method: string, headers: Record<string, string>) =>
  compileCors({ ...policy, ...changes })(method, (name) => headers[name]);
const from = (origin: string, more: Record<string, string> = {}) => ({ origin, ...more });
const asking = (origin: string) =>
  from(origin, { 'access-control-request-method': 'PUT', 'access-control-request-headers': 'x-c' });
const a = 'https://a.example';

t.test('a request of an allowed origin goes on, and its response says who may read it', async (t) => {
  t.same(decide({}, 'GET', from(a)), {
    kind: 'allow',
    response: {
      remove: [],
      set: [
        'access-control-allow-origin',
        a,
        'access-control-allow-credentials',
        'true',
        'access-control-expose-headers',
        'x-seen,x-too',
      ],
      add: [],
    },
  });
  t.same(decide({ allowCredentials: false, exposeHeaders: [] }, 'DELETE', from(a)), {
    kind: 'allow',
    response: { remove: [], set: ['access-control-allow-origin', a], add: [] },
  });
});

t.test('no origin, an empty one, and one that is not allowed: nothing happens', async (t) => {
  for (const headers of [{}, from(''), from('https://b.example'), from('HTTPS://A.EXAMPLE')]) {
    t.same(decide({}, 'GET', headers), { kind: 'none' });
  }
  t.same(decide({ allowOrigins: [] }, 'GET', from(a)), { kind: 'none' });
});

t.test('origins: exact, prefix, regex; what matches * stands for all', async (t) => {
  const rows: readonly (readonly [CorsPolicy['allowOrigins'][number], string, string])[] = [
    [{ kind: 'exact', value: a }, a, `${a}:8080`],
    [{ kind: 'prefix', value: a }, `${a}:8080`, 'https://b.example'],
    [{ kind: 'regex', value: 'https://[ab]\\.example' }, a, 'https://c.example'],
  ];
  for (const [origin, yes, no] of rows) {
    t.equal(decide({ allowOrigins: [origin] }, 'GET', from(yes)).kind, 'allow', origin.kind);
    t.equal(decide({ allowOrigins: [origin] }, 'GET', from(no)).kind, 'none', origin.kind);
  }
  for (const all of [
    { kind: 'exact', value: '*' },
    { kind: 'regex', value: '.*' },
    { kind: 'prefix', value: '' },
  ] as const) {
    t.match(decide({ allowOrigins: [all] }, 'GET', from('null')), {
      kind: 'allow',
      response: { set: ['access-control-allow-origin', 'null'] },
    });
  }
});

t.test('a preflight of an allowed origin is answered', async (t) => {
  t.same(decide({}, 'OPTIONS', asking(a)), {
    kind: 'preflight',
    answer: {
      status: 200,
      headers: {
        'access-control-allow-origin': a,
        'access-control-allow-credentials': 'true',
        'access-control-expose-headers': 'x-seen,x-too',
        'access-control-allow-methods': 'GET,POST',
        'access-control-allow-headers': 'x-a,x-b',
        'access-control-max-age': '90',
        'content-length': '0',
      },
      flag: '',
    },
  });
});

t.test('a preflight gets what it asks for where * is allowed, and nothing about what is not configured', async (t) => {
  const star = decide({ allowMethods: ['*'], allowHeaders: ['*'] }, 'OPTIONS', asking(a));
  t.match(star, {
    answer: { headers: { 'access-control-allow-methods': 'PUT', 'access-control-allow-headers': 'x-c' } },
  });
  const { maxAgeMs: _, ...rest } = policy;
  const bare = compileCors({ ...rest, allowMethods: [], allowHeaders: [], exposeHeaders: [], allowCredentials: false });
  t.same(
    bare('OPTIONS', (name) => asking(a)[name as 'origin']),
    {
      kind: 'preflight',
      answer: { status: 200, headers: { 'access-control-allow-origin': a, 'content-length': '0' }, flag: '' },
    },
  );
});

t.test('a preflight of another origin goes on, or is answered without allowing the origin', async (t) => {
  t.same(decide({}, 'OPTIONS', asking('https://b.example')), { kind: 'none' });
  const ignored = decide({ forwardUnmatchedPreflights: false }, 'OPTIONS', asking('https://b.example'));
  t.equal(ignored.kind, 'preflight');
  const headers = ignored.kind === 'preflight' ? ignored.answer.headers : {};
  t.equal(headers['access-control-allow-origin'], undefined);
  t.equal(headers['access-control-expose-headers'], undefined);
  t.equal(headers['access-control-allow-methods'], 'GET,POST');
});

t.test('OPTIONS without a requested method is no preflight', async (t) => {
  t.equal(decide({}, 'OPTIONS', from(a)).kind, 'allow');
  t.equal(decide({}, 'OPTIONS', from(a, { 'access-control-request-method': '' })).kind, 'allow');
  t.equal(decide({}, 'GET', asking(a)).kind, 'allow');
});
