import type { AuthorizationOperation, PathPattern } from '../model/authorization.ts';
import type { StringMatch } from '../model/string-match.ts';
import type { Condition, RuleReading } from './facts.ts';
import { type CompileList, fieldList } from './fields.ts';
import { compileHosts, hostView } from './host-match.ts';
import { methodsRead } from './method-match.ts';
import { compilePaths } from './path-match.ts';
import { compileTemplates } from './path-template.ts';
import { pathViews } from './path-views.ts';

/** Compiles one operation: all fields that are there must hold. */
export function compileOperation(operation: AuthorizationOperation, reading: RuleReading): Condition {
  const paths = pathsRead(reading.literalPaths);
  const methods = methodsRead(reading.literalPaths);
  const hosts = hostsRead(reading.literalPaths);
  return fieldList(reading)
    .add('ports', operation.ports, ports)
    .addNot('notPorts', operation.notPorts, ports)
    .add('methods', operation.methods, methods)
    .addNot('notMethods', operation.notMethods, methods)
    .add('hosts', operation.hosts, hosts)
    .addNot('notHosts', operation.notHosts, hosts)
    .add('paths', operation.paths, paths)
    .addNot('notPaths', operation.notPaths, paths)
    .all();
}

function ports(list: readonly number[]): Condition {
  return ({ localPort }) => list.includes(localPort);
}

function hostsRead(literal: boolean): CompileList<StringMatch> {
  return (matches, doubtMatches) => {
    const matcher = compileHosts(matches, doubtMatches && !literal);
    return ({ host }, derived) => host !== '' && matcher((derived.host ??= hostView(host)));
  };
}

function pathsRead(literal: boolean): CompileList<PathPattern> {
  return (patterns, doubtMatches) => {
    const texts = patterns.flatMap((pattern) => (pattern.kind === 'template' ? [] : [pattern]));
    const templates = patterns.flatMap((pattern) => (pattern.kind === 'template' ? [pattern.value] : []));
    const matcher = compilePaths(texts, literal);
    const template = compileTemplates(templates, literal);
    return ({ path, rawPath }, derived) => {
      const views = (derived.views ??= pathViews(path, rawPath));
      return doubtMatches
        ? matcher.possibly(path, views) || template.possibly(path, views)
        : matcher.surely(path, views) || template.surely(path, views);
    };
  };
}
