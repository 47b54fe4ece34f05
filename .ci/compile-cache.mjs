// Keeps the JavaScript that Node.js makes of the TypeScript files: every test file is a process of its own, and half of
// its time would go into making the same again. A file that changes is made anew.
import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../.cache/compile', import.meta.url));
enableCompileCache?.(folder);
// Programs that tests start have it, too.
process.env.NODE_COMPILE_CACHE ??= folder;
