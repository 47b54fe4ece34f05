/**
 * The environment for a child process that is to run as in a user's shell: without what npm and
 * tap (its loaders, its coverage) put there, and without settings of a mesh.
 */
export function plainEnvironment(): NodeJS.ProcessEnv {
  const strange = /^(npm_|tap_|_?tapjs|inmesh_|node_options$|node_v8_coverage$)/i;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !strange.test(name)));
}
