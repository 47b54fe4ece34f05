import express from 'express';
import { createMesh } from 'inmesh';

const mesh = createMesh({ config: `${import.meta.dirname}/mesh`, identity: false, closeOn: ['SIGINT', 'SIGTERM'] });
const app = express();

app.get('/hello/:name', (request, response) => response.json({ text: `Hello, ${request.params.name}.` }));

const server = await mesh.listen(app, Number(process.env['PORT'] ?? 4001));
process.stdout.write(`hello listens on port ${server.port}\n`);
