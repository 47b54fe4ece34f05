import { type IpAddress, parseIpAddress } from '../lib/ip-address.ts';
import type { AuthorizationSource, IpBlock } from '../model/authorization.ts';
import type { StringMatch } from '../model/string-match.ts';
import type { AuthorizationFacts, Condition, DerivedFacts, RuleReading } from './facts.ts';
import { anyText, type CompileList, fieldList } from './fields.ts';
import { compileIpBlocks } from './ip-match.ts';
import { namedAccounts } from './other-identity.ts';
import { requestPrincipals } from './request-principal.ts';
import { services } from './service-match.ts';

/** Without an identity no positive condition on it holds, and every negative one does. */
export function compileSource(source: AuthorizationSource, reading: RuleReading): Condition {
  return fieldList(reading)
    .add('principals', source.principals, principals)
    .addNot('notPrincipals', source.notPrincipals, principals)
    .add('namespaces', source.namespaces, namespaces)
    .addNot('notNamespaces', source.notNamespaces, namespaces)
    .add('serviceAccounts', source.serviceAccounts, serviceAccounts)
    .addNot('notServiceAccounts', source.notServiceAccounts, serviceAccounts)
    .add('trustDomains', source.trustDomains, trustDomains)
    .addNot('notTrustDomains', source.notTrustDomains, trustDomains)
    .add('requestPrincipals', source.requestPrincipals, requestPrincipals)
    .addNot('notRequestPrincipals', source.notRequestPrincipals, requestPrincipals)
    .add('services', source.services, services)
    .add('ipBlocks', source.ipBlocks, sourceAddresses)
    .addNot('notIpBlocks', source.notIpBlocks, sourceAddresses)
    .add('remoteIpBlocks', source.remoteIpBlocks, remoteAddresses)
    .addNot('notRemoteIpBlocks', source.notRemoteIpBlocks, remoteAddresses)
    .all();
}

const scheme = 'spiffe://';

function principals(matches: readonly StringMatch[]): Condition {
  const matcher = anyText(matches);
  return ({ peer }) => peer !== undefined && matcher(peer.spiffeId.slice(scheme.length));
}

function namespaces(matches: readonly StringMatch[], doubtMatches: boolean): Condition {
  const matcher = anyText(matches);
  return ({ peer }) => {
    if (peer === undefined) return false;
    if (peer.namespace !== undefined) return matcher(peer.namespace);
    return doubtMatches && namedAccounts(peer).some(({ namespace }) => matcher(namespace));
  };
}

function serviceAccounts(list: readonly string[], doubtMatches: boolean): Condition {
  const all = new Set(list);
  return ({ peer }) => {
    if (peer === undefined) return false;
    if (peer.namespace !== undefined) return all.has(`${peer.namespace}/${peer.serviceAccount}`);
    return doubtMatches && namedAccounts(peer).some(({ accounts }) => accounts.some((each) => all.has(each)));
  };
}

function trustDomains(matches: readonly StringMatch[]): Condition {
  const matcher = anyText(matches);
  return ({ peer }) => peer !== undefined && matcher(peer.trustDomain);
}

/** Which address a condition is about. */
type AddressOf = (facts: AuthorizationFacts, derived: DerivedFacts) => IpAddress | null;

function addresses(addressOf: AddressOf): CompileList<IpBlock> {
  return (blocks, doubtMatches) => {
    const isIn = compileIpBlocks(blocks);
    return (facts, derived) => {
      const address = addressOf(facts, derived);
      return address === null ? doubtMatches : isIn(address);
    };
  };
}

const sourceAddresses = addresses((facts, derived) => (derived.source ??= read(facts.sourceAddress)));
const remoteAddresses = addresses((facts, derived) => (derived.remote ??= read(facts.remoteAddress)));

/** Istio's `destination.ip`. */
export const destinationAddresses: CompileList<IpBlock> = addresses(
  (facts, derived) => (derived.destination ??= read(facts.destinationAddress)),
);

function read(text: string | undefined): IpAddress | null {
  return text === undefined ? null : (parseIpAddress(text) ?? null);
}
