/** The oldest Node.js that inmesh runs on; the same as `engines` in package.json. */
export const oldestNode = '22.19.0';

/** One line that says what is wrong with this version of Node.js, or nothing when it will do. */
export function nodeProblem(version: string): string | undefined {
  const has = version.replace(/^v/, '').split('.').map(Number);
  const needs = oldestNode.split('.').map(Number);
  for (let i = 0; i < needs.length; i++) {
    const difference = (has[i] ?? 0) - (needs[i] ?? 0);
    if (difference > 0) return undefined;
    if (difference < 0) return `inmesh needs Node.js ${oldestNode} or newer; this is ${version}`;
  }
  return undefined;
}

// Every published entry imports this file before anything else: modules are evaluated in the order
// in which they are imported, so an old Node.js is told what it lacks before a dependency breaks on
// it with a stack trace of its own.
const problem = nodeProblem(process.version);
if (problem !== undefined) {
  process.stderr.write(`${problem}\n`);
  process.exit(1);
}
