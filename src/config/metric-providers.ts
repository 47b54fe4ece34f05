/** One of `extensionProviders`, as far as it takes metrics. */
export interface MetricProviderSpec {
  readonly name: string;
  readonly prometheus?: unknown;
}

/** What a MeshConfig says of metrics. */
export interface MetricProviders {
  /** Names of those of kind `prometheus`. */
  readonly prometheus: readonly string[];
  /** `defaultProviders.metrics`. */
  readonly defaults: readonly string[];
}

const builtIn = 'prometheus';

/** As Istio's installation has it. */
export const defaultMetricProviders: MetricProviders = { prometheus: [builtIn], defaults: [builtIn] };

export function compileMetricProviders(spec: {
  readonly defaultProviders?: { readonly metrics?: readonly string[] };
  readonly extensionProviders?: readonly MetricProviderSpec[];
}): MetricProviders {
  const { defaultProviders, extensionProviders: own = [] } = spec;
  const named = own.filter(({ prometheus }) => prometheus !== undefined).map(({ name }) => name);
  const replaced = own.some(({ name }) => name === builtIn);
  return {
    prometheus: replaced ? named : [builtIn, ...named],
    defaults: defaultProviders?.metrics ?? defaultMetricProviders.defaults,
  };
}
