import { suggest } from '../../lib/suggest.ts';
import { istioAnnotations } from './annotation-list.ts';
import type { Analyzer } from './context.ts';

/** Annotations of Istio that do not exist, are out of date, or are on the wrong kind of resource. */
export const analyzeAnnotations: Analyzer = (context) => {
  for (const resource of context.resources) {
    for (const [key, value] of Object.entries(resource.annotations)) {
      const prefix = key.slice(0, Math.max(key.indexOf('/'), 0));
      if (prefix !== 'istio.io' && !prefix.endsWith('.istio.io')) continue;
      const path = ['metadata', 'annotations', key];
      const known = istioAnnotations.get(key);
      if (known === undefined) {
        const meant = suggest(key, istioAnnotations.keys());
        const hint = meant === undefined ? '' : ` (did you mean ${meant}?)`;
        context.report('IST0108', resource, path, `is not an annotation that Istio knows${hint}`, { key: true });
        continue;
      }
      const { kinds, deprecated = false, values } = known;
      if (kinds !== undefined && !kinds.includes(resource.kind)) {
        context.report('IST0107', resource, path, `is only for ${kinds.join(', ')}`, { key: true });
      } else if (deprecated) {
        context.report('IST0135', resource, path, 'is deprecated, and may not work in later versions', { key: true });
      } else if (values !== undefined && !values.test(value)) {
        context.report('IST0125', resource, path, 'has a value that Istio does not know', { value });
      }
    }
  }
};
