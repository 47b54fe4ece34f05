import { MeshError } from '../errors.ts';
import { type IpAddress, parseIpAddress } from '../lib/ip-address.ts';
import type { IpBlock } from '../model/authorization.ts';

/** A node of a binary tree over the bits of addresses. */
interface Node {
  zero: Node | undefined;
  one: Node | undefined;
  /** A block ends here: whatever follows is in it. */
  end: boolean;
}

/**
 * Compiles blocks of addresses to one question. It costs at most as many steps as the longest
 * prefix has bits, however many blocks there are. A block of IPv6 holds no address of IPv4.
 *
 * @throws MeshError `ERR_MESH_CONFIG_INVALID` for what is no block
 */
export function compileIpBlocks(blocks: readonly IpBlock[]): (address: IpAddress) => boolean {
  const v4 = emptyNode();
  const v6 = emptyNode();
  for (const block of blocks) {
    const address = parseIpAddress(block.address);
    if (address === undefined || !(block.prefix >= 0 && block.prefix <= address.bits)) {
      const text = `${block.address}/${block.prefix}`;
      throw new MeshError('ERR_MESH_CONFIG_INVALID', `AuthorizationPolicy: not a block of addresses: ${text}`);
    }
    insert(address.bits === 32 ? v4 : v6, address, block.prefix);
  }
  return (address) => contains(address.bits === 32 ? v4 : v6, address);
}

function insert(root: Node, { words }: IpAddress, prefix: number): void {
  let node = root;
  for (let i = 0; i < prefix; i++) {
    if (bitAt(words, i) === 0) node = node.zero ??= emptyNode();
    else node = node.one ??= emptyNode();
  }
  node.end = true;
}

function contains(root: Node, { bits, words }: IpAddress): boolean {
  let node: Node | undefined = root;
  for (let i = 0; i < bits && !node.end; i++) {
    node = bitAt(words, i) === 0 ? node.zero : node.one;
    if (node === undefined) return false;
  }
  return node.end;
}

function bitAt(words: readonly number[], i: number): number {
  return ((words[i >>> 5] as number) >>> (31 - (i & 31))) & 1;
}

function emptyNode(): Node {
  return { zero: undefined, one: undefined, end: false };
}
