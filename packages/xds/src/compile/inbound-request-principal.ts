import type { RbacMatch, StringMatch } from 'inmesh/model';

/**
 * What istiod makes of a `requestPrincipals` entry (the claims `iss` and `sub`, each with a part of it) as that entry:
 * then it is decided as it would be if it had come in an AuthorizationPolicy. Nothing for anything else.
 */
export function requestPrincipal(matches: readonly RbacMatch[]): RbacMatch | undefined {
  const [first, second, ...others] = matches;
  const issuer = claimText(first, 'iss');
  const subject = claimText(second, 'sub');
  if (issuer === undefined || subject === undefined || others.length > 0) return undefined;
  const match = joined(issuer, subject);
  return match && { kind: 'requestPrincipal', match };
}

function claimText(match: RbacMatch | undefined, name: string): StringMatch | undefined {
  if (match?.kind !== 'claim' || match.value.kind !== 'text' || match.path.length !== 1) return undefined;
  return match.path[0] === name ? match.value.match : undefined;
}

function joined(issuer: StringMatch, subject: StringMatch): StringMatch | undefined {
  const [iss, sub] = [issuer, subject];
  if (iss.kind === 'present' && sub.kind === 'present') return { kind: 'present' };
  if (iss.kind === 'exact' && sub.kind === 'exact') {
    // Without a slash in it, the entry was the issuer alone, and no token has an empty subject.
    return sub.value === '' || sub.value.includes('/')
      ? undefined
      : { kind: 'exact', value: `${iss.value}/${sub.value}` };
  }
  if (iss.kind === 'exact' && sub.kind === 'prefix') return { kind: 'prefix', value: `${iss.value}/${sub.value}` };
  if (iss.kind === 'exact' && sub.kind === 'present') return { kind: 'prefix', value: `${iss.value}/` };
  if (iss.kind === 'prefix' && sub.kind === 'present') {
    return iss.value.includes('/') ? undefined : { kind: 'prefix', value: iss.value };
  }
  if (iss.kind === 'suffix' && sub.kind === 'exact') return { kind: 'suffix', value: `${iss.value}/${sub.value}` };
  if (iss.kind === 'present' && sub.kind === 'exact') return { kind: 'suffix', value: `/${sub.value}` };
  if (iss.kind === 'present' && sub.kind === 'suffix') {
    return sub.value.includes('/') ? undefined : { kind: 'suffix', value: sub.value };
  }
  return undefined;
}
