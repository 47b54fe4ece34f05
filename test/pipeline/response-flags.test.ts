import t from 'tap';
import { addFlag } from '../../src/pipeline/response-flags.ts';

t.test('several flags stand in the order of Envoy, each once', async (t) => {
  const table: readonly (readonly [flags: string, flag: string, both: string])[] = [
    ['', '', ''],
    ['', 'DI', 'DI'],
    ['DI', '', 'DI'],
    ['DI', 'DI', 'DI'],
    ['DI', 'FI', 'DI,FI'],
    ['FI', 'DI', 'DI,FI'],
    ['DI', 'UF', 'UF,DI'],
    ['DI', 'URX', 'DI,URX'],
    ['UF,DI', 'UF', 'UF,DI'],
    ['DI,URX', 'FI', 'DI,FI,URX'],
  ];
  for (const [flags, flag, both] of table) t.equal(addFlag(flags, flag), both, `${flags} and ${flag}`);
});
