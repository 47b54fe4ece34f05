import { runAuthority } from '@inmesh/ca';
import { inmesh } from '@inmesh/fastify';
import fastify from 'fastify';
import { createMesh } from 'inmesh';
import { caSource } from 'inmesh/identity';
import { callThrough } from './calls.cjs';

const application = async (mesh) => {
  const app = fastify();
  await app.register(inmesh, { mesh });
  app.get('/hello', async (request) => request.mesh.peer.spiffeId);
  return app;
};

await callThrough({ application, createMesh, caSource, runAuthority });
