const { runAuthority } = require('@inmesh/ca');
const { inmesh } = require('@inmesh/express');
const express = require('express');
const { createMesh } = require('inmesh');
const { caSource } = require('inmesh/identity');
const { callThrough } = require('./calls.cjs');

const application = (mesh) =>
  express()
    .use(inmesh(mesh))
    .get('/hello', (req, res) => res.send(req.mesh.peer.spiffeId));

callThrough({ application, createMesh, caSource, runAuthority });
