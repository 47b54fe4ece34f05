import express from 'express';
import { createMesh } from 'inmesh';

const mesh = createMesh({ config: `${import.meta.dirname}/mesh`, identity: false, closeOn: ['SIGINT', 'SIGTERM'] });
const app = express();

app.get('/', async (_request, response) => {
  const reply = await mesh.fetch('http://hello/hello/world'); // the name, retries and timeout come from mesh/hello.yaml
  response
    .status(reply.status)
    .type('json')
    .send(await reply.text());
});

const server = await mesh.listen(app, Number(process.env['PORT'] ?? 4000));
process.stdout.write(`web listens on port ${server.port}\n`);
