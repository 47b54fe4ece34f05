// Properties are tested with the same samples each time: a run that fails, fails again. FC_SEED=<integer> gives others.
import { registerHooks } from 'node:module';

const seed = Number(process.env.FC_SEED ?? 20_261_122);

registerHooks({
  resolve(specifier, context, next) {
    const found = next(specifier, context);
    if (specifier !== 'fast-check') return found;
    const url = JSON.stringify(found.url);
    const source = `import fc from ${url}; fc.configureGlobal({ seed: ${seed} }); export * from ${url}; export default fc;`;
    return { url: `data:text/javascript,${encodeURIComponent(source)}`, format: 'module', shortCircuit: true };
  },
});
