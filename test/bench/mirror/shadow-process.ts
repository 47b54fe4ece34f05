// A process of `npm run bench:mirror`: the service that gets the copies.
import { type Misbehaviour, startShadow } from './shadows.ts';

const { port } = await startShadow(process.argv[2] as Misbehaviour);
process.send?.(port);
process.once('disconnect', () => process.exit());
