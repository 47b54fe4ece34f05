const { runAuthority } = require('@inmesh/ca');
const { inmesh } = require('@inmesh/fastify');
const fastify = require('fastify');
const { createMesh } = require('inmesh');
const { caSource } = require('inmesh/identity');
const { callThrough } = require('./calls.cjs');

const application = async (mesh) => {
  const app = fastify();
  await app.register(inmesh, { mesh });
  app.get('/hello', async (request) => request.mesh.peer.spiffeId);
  return app;
};

callThrough({ application, createMesh, caSource, runAuthority });
