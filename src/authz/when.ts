import { MeshError } from '../errors.ts';
import type { AuthorizationCondition } from '../model/authorization.ts';
import type { StringMatch } from '../model/string-match.ts';
import { claimTexts } from './claim-match.ts';
import type { Condition, RuleReading } from './facts.ts';
import { anyText, type CompileList, fieldList } from './fields.ts';
import { headerValues } from './header-match.ts';
import { compileOperation } from './operation.ts';
import { compileSource, destinationAddresses } from './source.ts';

/** Compiles one `when`. */
export function compileWhen(when: AuthorizationCondition, reading: RuleReading): Condition {
  switch (when.attribute) {
    case 'source':
      return compileSource(when.source, reading);
    case 'operation':
      return compileOperation(when.operation, reading);
    case 'header':
      return compileValues(when, headerValues(when.name, reading.literalPaths), reading);
    case 'claim':
      return compileValues(when, claimTexts(when.path), reading);
    case 'sni':
      return compileValues(when, serverNames, reading);
    case 'destinationIp':
      return compileValues(when, destinationAddresses, reading);
    default:
      throw new MeshError('ERR_MESH_CONFIG_INVALID', `AuthorizationPolicy: unknown attribute ${unknownIn(when)}`);
  }
}

interface Values<T> {
  readonly values?: readonly T[];
  readonly notValues?: readonly T[];
}

function compileValues<T>({ values, notValues }: Values<T>, compile: CompileList<T>, reading: RuleReading): Condition {
  if (values === undefined && notValues === undefined) {
    throw new MeshError('ERR_MESH_CONFIG_INVALID', 'AuthorizationPolicy: when has neither values nor notValues');
  }
  return fieldList(reading).add('values', values, compile).addNot('notValues', notValues, compile).all();
}

/** As in Istio `*` is a name of some length. Names of hosts have no case, and Envoy keeps them in lower case. */
export function serverNames(matches: readonly StringMatch[]): Condition {
  const matcher = anyText(matches.map(inLowerCase));
  return ({ sni }) => sni !== '' && matcher(sni.toLowerCase());
}

function inLowerCase(match: StringMatch): StringMatch {
  return match.kind === 'present' || match.kind === 'regex' ? match : { ...match, value: match.value.toLowerCase() };
}

function unknownIn(when: never): string {
  return String((when as { readonly attribute?: unknown }).attribute);
}
