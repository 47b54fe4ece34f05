import { withBaggageMember } from '../lib/baggage.ts';
import { type HeaderList, headerValue, setHeader } from '../lib/header-list.ts';
import type { Random } from '../lib/random.ts';
import type { Route } from '../model/route.ts';
import { type Answerer, compileAnswer } from './answer.ts';
import { type CompiledEdits, compileEdits } from './header-edits.ts';
import type { RoutableRequest } from './request-view.ts';
import { compilePathRewrite, type PathRewriter } from './rewrite.ts';
import { createStickyChoice, labelOf } from './sticky.ts';
import { createWeightedChoice } from './weighted.ts';

/** What a route does to requests for one of its destinations. */
export interface DestinationPlan {
  readonly route: Route;
  readonly cluster: string;
  /** Its name in baggage. */
  readonly label: string;
  /** Headers of requests and responses. */
  readonly edits: CompiledEdits;
  /** Replaces the Host header; a rewrite comes before what header edits say. */
  readonly authority: string | undefined;
  readonly rewritePath: PathRewriter | undefined;
}

/** What a route says, compiled once: whatever it does not say is absent and costs nothing. */
export type RoutePlan<T> =
  /** Redirect or direct response, in place of a destination. */
  | { readonly answer: Answerer; readonly choose: undefined }
  /** Chooses by weight. */
  | { readonly answer: undefined; readonly choose: () => T }
  /** Chooses by who calls. */
  | { readonly answer: undefined; readonly choose: undefined; readonly chooseFor: (request: RoutableRequest) => T };

export function createRoutePlan<T>(route: Route, random: Random, make: (plan: DestinationPlan) => T): RoutePlan<T> {
  const answer = compileAnswer(route);
  if (answer !== undefined) return { answer, choose: undefined };
  const isAlone = route.destinations.length === 1;
  const rewritePath = route.rewrite === undefined ? undefined : compilePathRewrite(route.rewrite);
  const options = route.destinations.map((destination) => {
    const edits = compileEdits(route.headers, destination.headers, isAlone);
    const { cluster, weight } = destination;
    const authority = route.rewrite?.authority ?? edits.authority;
    return {
      destination,
      weight,
      value: make({ route, cluster, label: labelOf(cluster), edits, authority, rewritePath }),
    };
  });
  if (route.sticky !== undefined) {
    return { answer, choose: undefined, chooseFor: createStickyChoice(route.sticky, options, random) };
  }
  return { answer, choose: createWeightedChoice(options, random) };
}

/** Is there anything to change about the requests or responses of this destination? */
export function changesHeaders({ authority, edits, rewritePath }: DestinationPlan): boolean {
  return authority !== undefined || rewritePath !== undefined || edits.request.length > 0 || edits.response.length > 0;
}

/** The `baggage` in which a sticky choice travels on; nothing when the route does not say so. */
export function baggageWithChoice({ label, route }: DestinationPlan, headers: HeaderList): string | undefined {
  const name = route.sticky?.baggage;
  return name === undefined ? undefined : withBaggageMember(headerValue(headers, 'baggage'), name, label);
}

/** Writes a sticky choice into the headers of its request. */
export function announceChoice(plan: DestinationPlan, headers: HeaderList): void {
  const baggage = baggageWithChoice(plan, headers);
  if (baggage !== undefined) setHeader(headers, 'baggage', baggage);
}
