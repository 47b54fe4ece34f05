import type { Mesh, MeshOptions } from '../../../src/index.ts';
import type { TestAuthority } from '../../support/certificates.ts';
import { authzLayer } from './authz.ts';
import type { Input } from './catalogue.ts';
import { dosLayer } from './dos.ts';
import { frameLayer } from './frame.ts';
import { h2Layer, h2Scripts } from './h2.ts';
import { hostLayer } from './host.ts';
import { jwksLayer } from './jwks.ts';
import { jwtLayer } from './jwt.ts';
import { obsLayer } from './obs.ts';
import { literalPathLayer, pathLayer } from './path.ts';
import type { Way } from './ways.ts';

/** What a script may use. */
export interface Target {
  readonly way: Way;
  /** The port that the way speaks to. */
  readonly port: number;
  readonly plainPort: number;
  readonly securePort: number;
  readonly authority: TestAuthority;
  /** Trusted by the server, each for another trust domain. */
  readonly strangers: readonly TestAuthority[];
  /** The configuration of the case, compiled and in force; YAML. */
  readonly yaml: string;
  /** Takes another configuration into force. */
  use(yaml: string): void;
  /** The mesh that is attacked. */
  readonly mesh: Mesh;
  /** In the size that the case says, however long that takes; else in a smaller one. */
  readonly full: boolean;
}

/** What came of an attack: an answer; no status: the connection or the stream was ended without one. */
export interface Outcome {
  readonly status?: number | undefined;
  readonly body?: string;
  /** What went against the expectation, where a status does not say it. */
  readonly problem?: string;
  /** The hostile part was looked for where it would be left: `sanitise` needs no other proof. */
  readonly sanitised?: true;
  /** What was measured, for people. */
  readonly figures?: string;
}

/** An attack that takes more than one request. `bounded` and `ignore` are its own to judge, by `problem`. */
export type Script = (target: Target, input: Input) => Promise<Outcome>;

/** What a layer brings for its cases. */
export interface Preparation {
  /** Beside those of the fixture; these go before them. */
  readonly configs?: Readonly<Record<string, string>>;
  /** Each `${name}` in a configuration becomes what stands here. */
  readonly values?: Readonly<Record<string, string>>;
  /** Headers that carry the token of a case (`input.jwt`). */
  readonly token?: (input: Input) => Promise<readonly (readonly [string, string])[]>;
  /** Further cases, made by code. */
  readonly cases?: readonly import('./catalogue.ts').Attack[];
  /** Ends what was started. */
  close?(): Promise<void>;
}

/** One layer of the catalogue: `test/fixtures/attacks/<name>.json`, and what goes with it. */
export interface Layer {
  readonly name: string;
  /** Takes seconds for each way: floods. Runs on `mesh.listen` with the other tests, on frameworks with the long ones. */
  readonly heavy?: true;
  /** By id of the case: what the runner cannot send by itself. */
  readonly scripts?: Readonly<Record<string, Script>>;
  /** Cases that need no server at all, by id; run once. `full` as in {@link Target}. */
  readonly alone?: Readonly<Record<string, (full: boolean) => Promise<Outcome>>>;
  /** Started once before its cases: an issuer of tokens, a provider. */
  readonly prepare?: () => Promise<Preparation>;
  /** Options of the mesh that its cases need; the layer then has servers of its own. */
  readonly mesh?: () => Partial<MeshOptions>;
}

/**
 * All layers that run against servers. To add one: a fixture, a line here, and where it needs more
 * a file `<name>.ts` beside this one that exports a {@link Layer}.
 */
export const layers: readonly Layer[] = [
  pathLayer,
  literalPathLayer,
  { ...hostLayer, scripts: { ...hostLayer.scripts, ...h2Scripts } },
  { name: 'hdr' },
  authzLayer,
  { name: 'idh' },
  jwtLayer,
  frameLayer,
  obsLayer,
  jwksLayer,
  h2Layer,
  dosLayer,
];
