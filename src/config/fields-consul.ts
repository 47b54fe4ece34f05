import type { KindTable } from './schema.ts';
import {
  any,
  boolean,
  enforced,
  field,
  ignored,
  integer,
  list,
  map,
  nonEmptyList,
  object,
  oneOfValues,
  refused,
  required,
  string,
  text,
} from './schema.ts';

const name = string({ minLength: 1, maxLength: 253 });
const pattern = string({ minLength: 1, maxLength: 1_024 });
const action = oneOfValues('allow', 'deny');
const legacy = refused(text, 'is of intentions of before Consul 1.9');
const jwt = refused(
  object({
    Providers: list(object({ Name: string(), VerifyClaims: list(object({ Path: list(string()), Value: string() })) })),
  }),
  'there are no `jwt-provider` entries; demand tokens with RequestAuthentication and AuthorizationPolicy',
);

const header = object({
  Name: required(name),
  Present: boolean,
  Exact: pattern,
  Prefix: pattern,
  Suffix: pattern,
  Contains: pattern,
  Regex: enforced(pattern, 'RE2; the whole value'),
  IgnoreCase: boolean,
  Invert: enforced(boolean, 'a header that is absent matches only with `Present`, as in Envoy'),
});

const permission = object({
  Action: required(action),
  HTTP: required(
    object(
      {
        PathExact: pattern,
        PathPrefix: pattern,
        PathRegex: enforced(pattern, 'RE2; the whole path'),
        Header: enforced(
          list(header),
          'each line of a header is a value by itself; all must match to allow, one to deny',
        ),
        Methods: list(string({ minLength: 1 })),
      },
      ['PathExact', 'PathPrefix', 'PathRegex'],
    ),
  ),
  JWT: jwt,
});

/** Consul's config entry `service-intentions`, as plain YAML. */
export const serviceIntentionsTable: KindTable = {
  kind: 'service-intentions',
  group: '',
  versions: ['Consul config entry'],
  status: 'enforced',
  note: 'written with `Kind` and `Name`, without `apiVersion`',
  reference: 'reference/configuration.md#consul-intentions',
  fields: {
    Kind: field(oneOfValues('service-intentions')),
    Name: required(enforced(name, 'a service: the service account, `app` label or name of a workload; or `*`')),
    Namespace: enforced(
      name,
      'absent: the namespace of resources that name none, and `default` in identities of Consul; or `*`',
    ),
    Partition: refused(name, 'a process is of no admin partition'),
    Meta: enforced(
      map(string({ maxLength: 512 }), { pattern: /^[-_A-Za-z0-9]{1,128}$/, mustBe: 'letters, digits, - and _' }),
      '`default_intention_policy: allow` or `deny` (default) says what holds where no intention does; others have no effect',
    ),
    JWT: jwt,
    Sources: required(
      nonEmptyList(
        object({
          Name: required(enforced(name, 'a service, or `*`')),
          Namespace: enforced(name, 'default: that of the entry; or `*`'),
          Partition: enforced(name, 'default `default`; another one holds for identities of Consul alone'),
          Peer: refused(name, 'clusters that are peers cannot be told apart'),
          SamenessGroup: refused(name, 'there are no `sameness-group` entries'),
          Action: action,
          Permissions: enforced(list(permission), 'the first that matches counts'),
          Precedence: ignored(integer(0, 9), 'worked out from the names, as by Consul'),
          Type: oneOfValues('consul'),
          Description: ignored(text, 'for people'),
          LegacyID: legacy,
          LegacyMeta: refused(map(text), 'is of intentions of before Consul 1.9'),
          LegacyCreateTime: legacy,
          LegacyUpdateTime: legacy,
        }),
      ),
    ),
  },
};

/** The custom resource of Consul on Kubernetes. Intentions that are not enforced must not look as if they were. */
export const serviceIntentionsResourceTable: KindTable = {
  kind: 'ServiceIntentions',
  group: 'consul.hashicorp.com',
  versions: ['v1alpha1'],
  status: 'refused',
  note: 'write it as the config entry `service-intentions`',
  reference: 'https://developer.hashicorp.com/consul/docs/connect/config-entries/service-intentions',
  fields: { spec: field(any) },
};
