/**
 * XXH64: a published function with implementations in every
 * language, so that other processes, also those not written in JavaScript, come to the same choices.
 * The result is two unsigned halves, since a number holds 53 bits and a BigInt costs an allocation a step.
 */
export interface Hash64 {
  readonly high: number;
  readonly low: number;
}

/** 64-bit values as pairs of halves; the primes of the specification. */
const p1h = 0x9e3779b1;
const p1l = 0x85ebca87;
const p2h = 0xc2b2ae3d;
const p2l = 0x27d4eb4f;
const p3h = 0x165667b1;
const p3l = 0x9e3779f9;
const p4h = 0x85ebca77;
const p4l = 0xc2b2ae63;
const p5h = 0x27d4eb2f;
const p5l = 0x165667c5;

const encoder = new TextEncoder();
// Texts are written here to be read as numbers; grows with the longest of them.
let bytes = new Uint8Array(1_024);
let view = new DataView(bytes.buffer);

/** UTF-8 has at most three bytes for a UTF-16 unit. */
function write(text: string): number {
  if (text.length * 3 > bytes.length) {
    bytes = new Uint8Array(text.length * 3);
    view = new DataView(bytes.buffer);
  }
  // Most texts are short and ASCII: a loop is faster than the call of an encoder.
  if (text.length > 64) return encoder.encodeInto(text, bytes).written;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) return encoder.encodeInto(text, bytes).written;
    bytes[i] = code;
  }
  return text.length;
}

// The register that every step works on, high half first. Synchronous code only, so one is enough;
// an array of its type, since a variable of a module would hold most 32-bit numbers as objects.
const register = new Uint32Array(2);

function load(h: number, l: number): void {
  register[0] = h;
  register[1] = l;
}

function high(): number {
  return register[0] as number;
}

function low(): number {
  return register[1] as number;
}

function add(h: number, l: number): void {
  const sum = low() + l;
  load(high() + h + (sum > 0xffff_ffff ? 1 : 0), sum);
}

function multiply(h: number, l: number): void {
  const own = low();
  const a = own >>> 16;
  const b = own & 0xffff;
  const c = l >>> 16;
  const d = l & 0xffff;
  // Products of two halves of 16 bits, and one more such half, fit into 32 bits.
  const bd = Math.imul(b, d);
  const middle = (Math.imul(a, d) + (bd >>> 16)) >>> 0;
  const cross = (Math.imul(b, c) + (middle & 0xffff)) >>> 0;
  const carry = Math.imul(a, c) + (middle >>> 16) + (cross >>> 16);
  load(carry + Math.imul(high(), l) + Math.imul(own, h), (cross << 16) | (bd & 0xffff));
}

/** By 1 to 31 bits. */
function rotateLeft(bits: number): void {
  const h = high();
  const l = low();
  load((h << bits) | (l >>> (32 - bits)), (l << bits) | (h >>> (32 - bits)));
}

/** `register ^= register >>> bits`, for 1 to 63 bits. */
function fold(bits: number): void {
  const h = high();
  const l = low();
  if (bits >= 32) load(h, l ^ (bits === 32 ? h : h >>> (bits - 32)));
  else load(h ^ (h >>> bits), l ^ ((l >>> bits) | (h << (32 - bits))));
}

/** `round(accumulator, lane)`: into the register. */
function round(accH: number, accL: number, laneH: number, laneL: number): void {
  load(laneH, laneL);
  multiply(p2h, p2l);
  add(accH, accL);
  rotateLeft(31);
  multiply(p1h, p1l);
}

/** Hash of the UTF-8 bytes of a text; see {@link Hash64}. `seed` is a number of 32 bits, default 0. */
export function xxHash64(text: string, seed = 0): Hash64 {
  digest(write(text), seed);
  return { high: high(), low: low() };
}

/** The same as one number of 64 bits. */
export function xxHash64Big(text: string, seed = 0): bigint {
  digest(write(text), seed);
  return joinHash(high(), low());
}

/** Like {@link xxHash64Big}, but of the bytes that a header value has on the wire: one for a character up to U+00FF. */
export function xxHash64Header(value: string): bigint {
  if (value.length > bytes.length) {
    bytes = new Uint8Array(value.length);
    view = new DataView(bytes.buffer);
  }
  for (let i = 0; i < value.length; i++) bytes[i] = value.charCodeAt(i);
  digest(value.length, 0);
  return joinHash(high(), low());
}

const halves = new DataView(new ArrayBuffer(8));

/** One number out of two unsigned halves. */
export function joinHash(h: number, l: number): bigint {
  halves.setUint32(0, h);
  halves.setUint32(4, l);
  return halves.getBigUint64(0);
}

/** Upper half of a hash. */
export function highOf(hash: bigint): number {
  halves.setBigUint64(0, hash);
  return halves.getUint32(0);
}

/** Lower half of a hash. */
export function lowOf(hash: bigint): number {
  halves.setBigUint64(0, hash);
  return halves.getUint32(4);
}

/** Hash of the bytes that were written: into the register. */
function digest(length: number, seed: number): void {
  let at = 0;
  if (length < 32) {
    load(p5h, p5l);
    add(0, seed);
  } else at = stripes(length, seed);
  add(0, length);
  for (; at + 8 <= length; at += 8) {
    const h = high();
    const l = low();
    round(0, 0, view.getUint32(at + 4, true), view.getUint32(at, true));
    load(h ^ high(), l ^ low());
    rotateLeft(27);
    multiply(p1h, p1l);
    add(p4h, p4l);
  }
  if (at + 4 <= length) {
    mixIn(view.getUint32(at, true), p1h, p1l);
    rotateLeft(23);
    multiply(p2h, p2l);
    add(p3h, p3l);
    at += 4;
  }
  for (; at < length; at++) {
    mixIn(view.getUint8(at), p5h, p5l);
    rotateLeft(11);
    multiply(p1h, p1l);
  }
  fold(33);
  multiply(p2h, p2l);
  fold(29);
  multiply(p3h, p3l);
  fold(32);
}

/** `register ^= value * prime`. */
function mixIn(value: number, primeH: number, primeL: number): void {
  const h = high();
  const l = low();
  load(0, value);
  multiply(primeH, primeL);
  load(h ^ high(), l ^ low());
}

/** The part of a long text that is taken 32 bytes at a time; returns how far it got. */
function stripes(length: number, seed: number): number {
  // Four accumulators, each high and low: prime1 + prime2, prime2, 0, -prime1; and to each of them the seed.
  load(p1h, p1l);
  add(p2h, p2l);
  const acc = new Uint32Array([high(), low(), p2h, p2l, 0, 0, ~p1h, -p1l]);
  for (let i = 0; seed !== 0 && i < 8; i += 2) {
    load(acc[i] as number, acc[i + 1] as number);
    add(0, seed);
    acc[i] = high();
    acc[i + 1] = low();
  }
  let at = 0;
  for (; at + 32 <= length; at += 32) {
    for (let i = 0; i < 8; i += 2) {
      const from = at + i * 4;
      round(acc[i] as number, acc[i + 1] as number, view.getUint32(from + 4, true), view.getUint32(from, true));
      acc[i] = high();
      acc[i + 1] = low();
    }
  }
  let sumH = 0;
  let sumL = 0;
  const turns = [1, 7, 12, 18];
  for (let i = 0; i < 4; i++) {
    load(acc[i * 2] as number, acc[i * 2 + 1] as number);
    rotateLeft(turns[i] as number);
    add(sumH, sumL);
    sumH = high();
    sumL = low();
  }
  for (let i = 0; i < 8; i += 2) {
    const h = high();
    const l = low();
    round(0, 0, acc[i] as number, acc[i + 1] as number);
    load(h ^ high(), l ^ low());
    multiply(p1h, p1l);
    add(p4h, p4l);
  }
  return at;
}

/** A hash as a number strictly between 0 and 1, from its upper 52 bits. */
export function unitInterval({ high: h, low: l }: Hash64): number {
  // 52 bits and a half step: neither 0 nor 1 can come out, and every value is exact.
  return (h * 1_048_576 + (l >>> 12) + 0.5) / 4_503_599_627_370_496;
}
