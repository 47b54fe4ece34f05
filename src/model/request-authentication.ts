import type { Provenance } from './provenance.ts';

/** Istio `RequestAuthentication` after the selector was applied. */
export interface RequestAuthentication {
  readonly rules: readonly JwtRule[];
  readonly provenance: Provenance;
}

/** One of Istio's `jwtRules`: whose tokens are accepted, where they are looked for, what is handed on. */
export interface JwtRule {
  /** Claim `iss`; '' (absent in Istio): any issuer that signs with the keys. */
  readonly issuer: string;
  /** One of them must be in the claim `aud`. Empty: any audience. */
  readonly audiences: readonly string[];
  readonly keys: JwtKeys;
  /** Empty together with the other two: `Authorization: Bearer …` and the query parameter `access_token`. */
  readonly fromHeaders: readonly TokenHeader[];
  readonly fromParams: readonly string[];
  readonly fromCookies: readonly string[];
  /** Gets the verified payload, base64url. */
  readonly outputPayloadToHeader?: string;
  readonly outputClaimToHeaders: readonly ClaimHeader[];
  /** The application sees the token. */
  readonly forwardOriginalToken: boolean;
  /** For one request for keys, milliseconds. */
  readonly timeoutMs: number;
  /** Claims that are lists separated by spaces, beside `scope` and `permission`. */
  readonly spaceDelimitedClaims: readonly string[];
  /** A request without a token of this rule is refused (Istio `presence: REQUIRED`). Absent: it passes without claims. */
  readonly required?: true;
}

/** Where the keys of an issuer come from. `discovery`: OpenID Connect Discovery at the issuer. */
export type JwtKeys =
  | { readonly kind: 'inline'; readonly jwks: string }
  | { readonly kind: 'uri'; readonly uri: string }
  | { readonly kind: 'discovery' };

/** A header that carries a token behind a prefix, `Bearer ` for instance. */
export interface TokenHeader {
  /** Lower case. */
  readonly name: string;
  readonly prefix: string;
}

/** Istio `ClaimToHeader`: nested claims are named `a.b`. */
export interface ClaimHeader {
  /** Lower case. */
  readonly header: string;
  readonly claim: string;
}
