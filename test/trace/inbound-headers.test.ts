import t from 'tap';
import { inboundTraceHeaders } from '../../src/trace/inbound-headers.ts';
import { isRequestId } from '../../src/trace/request-id.ts';

const trace = '0af7651916cd43dd8448eb211c80319c';
const span = 'b7ad6b7169203331';
const good = `00-${trace}-${span}-01`;

t.test(
  'OBS-006 OBS-007 a valid traceparent goes on with its tracestate, an invalid one is dropped with it',
  async (t) => {
    t.same(inboundTraceHeaders({ traceparent: good, tracestate: 'a=1,b=2' }), [
      'traceparent',
      good,
      'tracestate',
      'a=1,b=2',
    ]);
    t.same(inboundTraceHeaders({ traceparent: `cc-${trace}-${span}-01-what-comes-later` }), [
      'traceparent',
      `cc-${trace}-${span}-01-what-comes-later`,
    ]);
    const bad = [
      '',
      'garbage',
      `ff-${trace}-${span}-01`,
      `00-${'0'.repeat(32)}-${span}-01`,
      `00-${trace}-${'0'.repeat(16)}-01`,
      `00-${trace.toUpperCase()}-${span}-01`,
      `00-${trace}-${span}-0`,
      `00-${trace}-${span}-0x`,
      `00-${trace}-${span}-01-more`,
      `00_${trace}-${span}-01`,
      `00-${trace}_${span}-01`,
      `00-${trace}-${span}_01`,
      `01-${trace}-${span}-01more`,
      `01-${trace}-${span}-01-${'x'.repeat(2_048)}`,
      `0g-${trace}-${span}-01`,
      // Two headers, as Node joins them.
      `${good}, ${good}`,
    ];
    for (const traceparent of bad) t.same(inboundTraceHeaders({ traceparent, tracestate: 'a=1' }), [], traceparent);
  },
);

t.test('OBS-008 tracestate and baggage are bounded', async (t) => {
  const state = (tracestate: string): readonly string[] =>
    inboundTraceHeaders({ traceparent: good, tracestate }).slice(2);
  t.same(state('x'.repeat(513)), []);
  t.same(state(''), []);
  t.same(state(Array(33).fill('a=1').join(',')), []);
  t.equal(state(Array(32).fill('a=1').join(',')).length, 2);
  t.same(inboundTraceHeaders({ baggage: 'user=7' }), ['baggage', 'user=7']);
  t.same(inboundTraceHeaders({ baggage: 'x'.repeat(8_193) }), []);
  t.same(inboundTraceHeaders({ baggage: '' }), []);
});

t.test('B3 goes on in the form that arrived, if it is B3', async (t) => {
  for (const b3 of ['0', '1', 'd', `${trace}-${span}`, `${trace}-${span}-1`, `${span}-${span}-d-${span}`]) {
    t.same(inboundTraceHeaders({ b3 }), ['b3', b3]);
  }
  for (const b3 of [
    '2',
    '',
    trace,
    `${trace}-x`,
    `${trace}-${span}-7`,
    `${trace}-${span}-1-x`,
    `${trace}-${span}-1-${span}-1`,
    `${'0'.repeat(32)}-${span}`,
    'x'.repeat(69),
  ]) {
    t.same(inboundTraceHeaders({ b3 }), [], b3);
  }
  const fields = {
    'x-b3-traceid': trace,
    'x-b3-spanid': span.toUpperCase(),
    'x-b3-parentspanid': span,
    'x-b3-sampled': 'true',
    'x-b3-flags': '1',
  };
  t.same(inboundTraceHeaders(fields), Object.entries(fields).flat());
  const broken = {
    'x-b3-traceid': 'x',
    'x-b3-spanid': trace,
    'x-b3-parentspanid': '',
    'x-b3-sampled': 'maybe',
    'x-b3-flags': '2',
  };
  t.same(inboundTraceHeaders(broken), []);
});

t.test('request ids are printable, without spaces or commas, and not too long', async (t) => {
  for (const id of ['r-1', '0070956c-5dd9-4813-805f-8dd37043d91d', 'x'.repeat(128)]) t.ok(isRequestId(id), id);
  for (const id of ['', 'a b', 'a,b', 'a\u001b[31m', 'é', 'x'.repeat(129)])
    t.notOk(isRequestId(id), JSON.stringify(id));
});
