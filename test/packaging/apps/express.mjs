import { runAuthority } from '@inmesh/ca';
import { inmesh } from '@inmesh/express';
import express from 'express';
import { createMesh } from 'inmesh';
import { caSource } from 'inmesh/identity';
import { callThrough } from './calls.cjs';

const application = (mesh) =>
  express()
    .use(inmesh(mesh))
    .get('/hello', (req, res) => res.send(req.mesh.peer.spiffeId));

await callThrough({ application, createMesh, caSource, runAuthority });
