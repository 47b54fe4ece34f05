// Bytes that nobody should send, to a server with everything on, in a process of its own: nothing of it ends the process,
// and others are served as before. More of them: hostile.long.ts.
import t from 'tap';
import { throwAll } from './check.ts';

t.test('no bytes of strangers end the process', async (t) => throwAll(t, { from: 1, count: 900, atLeast: 20 }));
