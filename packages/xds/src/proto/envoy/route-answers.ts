import { bool, enumOf, message, string, uint32 } from '../kinds.ts';
import { optional, type Schema, schema, single } from '../schema.ts';
import { type DataSource, dataSourceSchema } from './base.ts';
import { type RegexMatchAndSubstitute, regexMatchAndSubstituteSchema } from './matchers.ts';

/** `envoy.config.route.v3.RedirectAction.RedirectResponseCode`. */
export type RedirectActionRedirectResponseCode =
  | 'MOVED_PERMANENTLY'
  | 'FOUND'
  | 'SEE_OTHER'
  | 'TEMPORARY_REDIRECT'
  | 'PERMANENT_REDIRECT';

const redirectActionRedirectResponseCodeKind = enumOf(
  'MOVED_PERMANENTLY',
  'FOUND',
  'SEE_OTHER',
  'TEMPORARY_REDIRECT',
  'PERMANENT_REDIRECT',
);

/** `envoy.config.route.v3.DirectResponseAction`. */
export interface DirectResponseAction {
  readonly status: number;
  readonly body: DataSource | undefined;
}

export const directResponseActionSchema: Schema<DirectResponseAction> = schema<DirectResponseAction>(
  'envoy.config.route.v3.DirectResponseAction',
  {
    fields: {
      status: single(1, uint32),
      body: single(
        2,
        message(() => dataSourceSchema),
      ),
    },
  },
);

/** `envoy.config.route.v3.NonForwardingAction`: it says all by being there. */
export type NonForwardingAction = Readonly<Record<string, never>>;

export const nonForwardingActionSchema: Schema<NonForwardingAction> = schema<NonForwardingAction>(
  'envoy.config.route.v3.NonForwardingAction',
  {
    fields: {},
  },
);

/** `envoy.config.route.v3.FilterAction`: it says all by being there. */
export type FilterAction = Readonly<Record<string, never>>;

export const filterActionSchema: Schema<FilterAction> = schema<FilterAction>('envoy.config.route.v3.FilterAction', {
  fields: {},
  ignored: { 1: 'action' },
});

/** `envoy.config.route.v3.RedirectAction`. */
export interface RedirectAction {
  readonly https_redirect: boolean | undefined;
  readonly scheme_redirect: string | undefined;
  readonly host_redirect: string;
  readonly port_redirect: number;
  readonly path_redirect: string | undefined;
  readonly prefix_rewrite: string | undefined;
  readonly regex_rewrite: RegexMatchAndSubstitute | undefined;
  readonly response_code: RedirectActionRedirectResponseCode | number;
  readonly strip_query: boolean;
}

export const redirectActionSchema: Schema<RedirectAction> = schema<RedirectAction>(
  'envoy.config.route.v3.RedirectAction',
  {
    fields: {
      https_redirect: optional(4, bool),
      scheme_redirect: optional(7, string),
      host_redirect: single(1, string),
      port_redirect: single(8, uint32),
      path_redirect: optional(2, string),
      prefix_rewrite: optional(5, string),
      regex_rewrite: single(
        9,
        message(() => regexMatchAndSubstituteSchema),
      ),
      response_code: single(3, redirectActionRedirectResponseCodeKind),
      strip_query: single(6, bool),
    },
    oneofs: [
      ['https_redirect', 'scheme_redirect'],
      ['path_redirect', 'prefix_rewrite', 'regex_rewrite'],
    ],
  },
);
