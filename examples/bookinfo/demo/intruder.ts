// A caller inside the mesh, with a good certificate, whom no AuthorizationPolicy lets in.
import { createMesh } from 'inmesh';
import { endWithLauncher, tell } from './messages.ts';

const mesh = createMesh();
await mesh.ready();

process.on('message', (request: { readonly id: number; readonly url: string }) => void call(request));
endWithLauncher();
tell({ kind: 'ready', port: 0 });

async function call({ id, url }: { readonly id: number; readonly url: string }): Promise<void> {
  try {
    const reply = await mesh.fetch(url);
    await reply.body?.cancel();
    tell({ kind: 'answer', id, status: reply.status, error: reply.headers.get('x-inmesh-error') ?? '' });
  } catch (error) {
    tell({ kind: 'answer', id, status: 0, error: String(error) });
  }
}
