// A server in a process of its own that can be frozen and killed. The address and port to listen on
// are its arguments; it tells its parent about each request before anything else happens.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const [, , address = '127.0.0.1', port = '0', backlog = '511'] = process.argv;

const server = createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://victim');
  const bytes = Number(url.searchParams.get('bytes') ?? 0);
  let received = 0;
  process.send?.({ call: request.headers['x-call'], method: request.method, path: url.pathname });
  request.on('data', (chunk: Buffer) => void (received += chunk.length));
  request.on('end', () => {
    process.send?.({ complete: request.headers['x-call'], received });
    if (url.pathname === '/hang') return;
    response.setHeader('content-length', bytes);
    if (url.pathname !== '/half') response.end(Buffer.alloc(bytes, 'x'));
    // The rest never comes.
    else response.write(Buffer.alloc(bytes / 2, 'x'));
  });
});
server.keepAliveTimeout = 60_000;
server.listen({ port: Number(port), host: address, backlog: Number(backlog) }, () => {
  process.send?.({ port: (server.address() as AddressInfo).port });
});
process.on('disconnect', () => process.exit());
