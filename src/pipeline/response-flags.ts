/** The flags that a call of ours can have, in the order in which Envoy writes several of them. */
const order = 'UH UT UR UF UC UO NR DI FI UAEX DC URX DPE UPE DT NC DO UDO'.split(' ');

/** Adds an Envoy response flag to those that a call has: `DI` and `UF` make `UF,DI`. `''` is none. */
export function addFlag(flags: string, flag: string): string {
  if (flags === '' || flags === flag) return flag;
  if (flag === '') return flags;
  const all = new Set([...flags.split(','), flag]);
  return [...all].sort((a, b) => order.indexOf(a) - order.indexOf(b)).join(',');
}
