// Runs the TypeScript blocks of one page, one after the other, in one process that ends when the
// last one has: `node snippet-host.ts <file> ...`. Documentation names ports like 9080; here every
// server listens on a port of the system's choice, on loopback, and connections follow it there.
import { type AddressInfo, Server, Socket } from 'node:net';
import { pathToFileURL } from 'node:url';

const ports = new Map<number, number>();
type Loose = (...args: unknown[]) => unknown;

const isOptions = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

const listen = Server.prototype.listen as Loose;
Server.prototype.listen = function (this: Server, ...args: unknown[]) {
  const [first] = args;
  const options = isOptions(first) ? first : { port: first };
  if (typeof options['path'] === 'string') return Reflect.apply(listen, this, args);
  const wanted = Number(options['port'] ?? 0);
  const callback = args.find((argument) => typeof argument === 'function');
  this.once('listening', () => ports.set(wanted, (this.address() as AddressInfo).port));
  return Reflect.apply(listen, this, [{ ...options, port: 0, host: '127.0.0.1' }, callback]);
} as Loose as typeof Server.prototype.listen;

const connect = Socket.prototype.connect as Loose;
Socket.prototype.connect = function (this: Socket, ...args: unknown[]) {
  // net.connect hands on its normalised arguments as one array.
  const [first] = args;
  const options = Array.isArray(first) ? first[0] : first;
  if (isOptions(options)) {
    const port = ports.get(Number(options['port']));
    if (port !== undefined) options['port'] = port;
  }
  return Reflect.apply(connect, this, args);
} as Loose as typeof Socket.prototype.connect;

// Programs of pages are told their ports by it.
process.env['PORT'] ??= '0';

for (const file of process.argv.slice(2)) {
  process.stderr.write(`running ${file}\n`);
  await import(pathToFileURL(file).href);
}
// Servers of the examples would run for ever.
process.exit(0);
