import { Readable } from 'node:stream';
import t from 'tap';
import { FormData as UndiciFormData } from 'undici';
import { isReplayable } from '../../src/lib/replayable.ts';

t.test('what is in memory can be sent again', async (t) => {
  const form = new FormData();
  form.set('a', new Blob(['x']));
  const bodies = {
    null: null,
    undefined: undefined,
    'empty text': '',
    text: 'x',
    Buffer: Buffer.from('x'),
    Uint8Array: new Uint8Array(1),
    DataView: new DataView(new ArrayBuffer(1)),
    ArrayBuffer: new ArrayBuffer(1),
    Blob: new Blob(['x']),
    File: new File(['x'], 'name'),
    FormData: form,
    'FormData of undici': new UndiciFormData(),
  };
  for (const [name, body] of Object.entries(bodies)) t.ok(isReplayable(body), name);
});

t.test('what is read while it is sent cannot', async (t) => {
  const bodies = {
    Readable: Readable.from(['x']),
    ReadableStream: new ReadableStream(),
    generator: (function* () {})(),
    'async generator': (async function* () {})(),
    'something else': {},
  };
  for (const [name, body] of Object.entries(bodies)) t.notOk(isReplayable(body), name);
});
