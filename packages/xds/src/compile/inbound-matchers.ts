import { isIP, SocketAddress } from 'node:net';
import type { IpBlock, RbacHeaderMatch, RbacValueMatch, StringMatch } from 'inmesh/model';
import type { CidrRange } from '../proto/envoy/address.ts';
import type { StringMatcher } from '../proto/envoy/matchers.ts';
import type { HeaderMatcher } from '../proto/envoy/route-match.ts';
import type { ValueMatcher } from '../proto/envoy/value-matchers.ts';
import { below, cannot, type Place, wrong } from './inbound-unpack.ts';
import { headerTextOf, stringMatchOf } from './string-matchers.ts';

/** A text of something that is absent where it is empty: there `.+` is whatever is there. */
export function filledTextMatch(matcher: StringMatcher | undefined, { path }: Place): StringMatch {
  const match = stringMatchOf(matcher, path);
  return match.kind === 'regex' && match.value === '.+' ? { kind: 'present' } : match;
}

/**
 * Envoy's `HeaderMatcher`. Names that begin with `grpc-`, and `:scheme`, are refused (gRFC A41): they are of the transport
 * and not of the request. `host` is `:authority`.
 */
export function headerMatch(matcher: HeaderMatcher, place: Place): RbacHeaderMatch {
  const name = matcher.name.toLowerCase();
  if (name === '') throw wrong(place, 'name', 'expected the name of a header');
  if (name.startsWith('grpc-') || name === ':scheme') {
    throw wrong(place, 'name', 'expected a header that policies may look at (gRFC A41)', matcher.name);
  }
  if (name.startsWith(':') && name !== ':method' && name !== ':authority') {
    throw cannot(place, 'name', 'expected :method, :authority or the name of a header', matcher.name);
  }
  const { invert_match: inverted, treat_missing_header_as_empty: absentIsEmpty } = matcher;
  const { match, turned } = valueMatch(matcher, place);
  return {
    kind: 'header',
    name: name === 'host' ? ':authority' : name,
    match,
    ...(inverted === turned ? {} : { invert: true }),
    ...(absentIsEmpty && match.kind !== 'present' ? { absentIsEmpty } : {}),
  };
}

/** `turned`: the opposite is meant. */
function valueMatch(
  matcher: HeaderMatcher,
  place: Place,
): Pick<RbacHeaderMatch, 'match'> & { readonly turned: boolean } {
  const { present_match, range_match } = matcher;
  const text = headerTextOf(matcher, place.path);
  if (text !== undefined) return { match: text, turned: false };
  if (range_match !== undefined) {
    return { match: { kind: 'range', from: range_match.start, below: range_match.end }, turned: false };
  }
  // Without any specifier the header has to be there.
  return { match: { kind: 'present' }, turned: present_match === false };
}

const mapped = '::ffff:';

/** Envoy's `CidrRange`. IPv4-mapped ones are about addresses of IPv4, as which callers on sockets for both families are known. */
export function ipBlock({ address_prefix: address, prefix_len: length }: CidrRange, place: Place): IpBlock {
  const bits = isIP(address) === 4 ? 32 : isIP(address) === 6 ? 128 : undefined;
  if (bits === undefined || address.includes('%'))
    throw wrong(place, 'address_prefix', 'expected an IP address', address);
  const prefix = length ?? 0;
  if (prefix > bits) throw wrong(place, 'prefix_len', `expected at most ${bits}`, prefix);
  const text = bits === 32 ? address : new SocketAddress({ address, family: 'ipv6' }).address;
  if (bits === 32 || !(text.startsWith(mapped) && text.includes('.'))) return { address, prefix };
  if (prefix < 96) throw cannot(place, 'prefix_len', 'expected at least 96, as of an IPv4-mapped range', prefix);
  return { address: text.slice(mapped.length), prefix: prefix - 96 };
}

/** Envoy's `ValueMatcher`. */
export function valueMatcher(matcher: ValueMatcher | undefined, place: Place): RbacValueMatch {
  const { bool_match, double_match, list_match, null_match, or_match, present_match, string_match } = matcher ?? {};
  if (string_match !== undefined) {
    return { kind: 'text', match: filledTextMatch(string_match, below(place, 'string_match')) };
  }
  if (list_match?.one_of !== undefined) {
    return { kind: 'member', of: valueMatcher(list_match.one_of, below(place, 'list_match.one_of')) };
  }
  if (or_match !== undefined) {
    const of = or_match.value_matchers.map((each, i) =>
      valueMatcher(each, below(place, `or_match.value_matchers[${i}]`)),
    );
    if (of.length === 0) throw wrong(place, 'or_match.value_matchers', 'expected at least one');
    return { kind: 'or', of };
  }
  if (bool_match !== undefined) return { kind: 'is', value: bool_match };
  if (null_match !== undefined) return { kind: 'is', value: null };
  if (present_match === true) return { kind: 'present' };
  if (double_match?.exact !== undefined) return { kind: 'number', from: double_match.exact, to: double_match.exact };
  if (double_match?.range !== undefined) {
    return { kind: 'number', from: double_match.range.start, to: double_match.range.end, open: true };
  }
  throw cannot(place, '', 'expected a matcher of values');
}
