import t from 'tap';
import { good, problems, resourceYaml, serviceYaml } from './support.ts';

let entries = 0;

t.test(
  'CFG-022 hosts that are not its own are refused to a namespace where they concern others, if so chosen',
  async (t) => {
    const virtualService = (spec: string, namespace = 'b'): string =>
      resourceYaml('VirtualService', 'v', `{${spec}, http: [{route: [{destination: {host: mine}}]}]}`, namespace);
    const entry = (host: string, namespace: string, more = ''): string =>
      resourceYaml(
        'ServiceEntry',
        `e${++entries}`,
        `{hosts: ["${host}"], resolution: STATIC, endpoints: [{address: 10.0.0.9}], ports: [{number: 80, name: http}]${more}}`,
        namespace,
      );
    const shop = serviceYaml() + entry('mine.b.svc.cluster.local', 'b');
    const root = entry('unused.istio-system.svc.cluster.local', 'istio-system');
    const rows: readonly (readonly [what: string, yaml: string, refused: RegExp | undefined, warned?: true])[] = [
      ['its own service', virtualService('hosts: [mine]'), undefined],
      ['the service of another', virtualService('hosts: [reviews.shop.svc.cluster.local]'), /shop/, true],
      [
        '... in its full name, another spelling',
        virtualService('hosts: [Reviews.Shop.svc.cluster.local]'),
        /shop/,
        true,
      ],
      ['... whose name no service has', virtualService('hosts: [gone.shop.svc.cluster.local]'), /namespace shop/, true],
      ['... for its own callers', virtualService('hosts: [reviews.shop.svc.cluster.local], exportTo: [.]'), undefined],
      [
        '... for its own callers, by name',
        virtualService('hosts: [reviews.shop.svc.cluster.local], exportTo: [b]'),
        undefined,
      ],
      [
        '... for one other namespace',
        virtualService('hosts: [reviews.shop.svc.cluster.local], exportTo: [., shop]'),
        /shop/,
        true,
      ],
      [
        '... by the root namespace',
        virtualService('hosts: [reviews.shop.svc.cluster.local]', 'istio-system'),
        undefined,
      ],
      ['... at a gateway', virtualService('hosts: [reviews.shop.svc.cluster.local], gateways: [g]'), undefined],
      ['all of another', virtualService('hosts: ["*.shop.svc.cluster.local"]'), /namespace shop/, true],
      ['all of its own', virtualService('hosts: ["*.b.svc.cluster.local"]'), undefined],
      ['all services', virtualService('hosts: ["*.svc.cluster.local"]'), /several namespaces/, true],
      ['all services and more', virtualService('hosts: ["*.local"]'), /several namespaces/, true],
      ['a host of nobody', virtualService('hosts: [api.example.com]'), /no service of the mesh has it/],
      [
        'an external host of its own',
        entry('api.example.com', 'b') + virtualService('hosts: [api.example.com]'),
        undefined,
      ],
      ['... of another', entry('api.example.com', 'shop') + virtualService('hosts: [api.example.com]'), /shop/, true],
      [
        '... of both',
        entry('api.example.com', 'shop') + entry('api.example.com', 'b') + virtualService('hosts: [api.example.com]'),
        /several/,
        true,
      ],
      [
        'below a wildcard of its own',
        entry('*.example.com', 'b').replace('STATIC, endpoints: [{address: 10.0.0.9}]', 'NONE') +
          virtualService('hosts: [api.example.com]'),
        undefined,
      ],
      [
        'a wildcard over its own',
        entry('api.example.com', 'b') + virtualService('hosts: ["*.example.com"]'),
        undefined,
      ],
      [
        'a wildcard over that of another',
        entry('api.example.com', 'shop') + virtualService('hosts: ["*.example.com"]'),
        /shop/,
        true,
      ],
      ['the short name of a service', virtualService('hosts: [reviews.shop]'), /shop/, true],
      ['a ServiceEntry for the service of another', entry('reviews.shop.svc.cluster.local', 'b'), /shop/, true],
      ['... for its own callers', entry('reviews.shop.svc.cluster.local', 'b', ', exportTo: [.]'), undefined],
      ['... for nobody', entry('reviews.shop.svc.cluster.local', 'b', ', exportTo: ["~"]'), undefined],
      ['a ServiceEntry for the short name of a service', entry('reviews.shop', 'b'), /shop/, true],
      ['... and with svc', entry('Reviews.shop.svc', 'b'), /shop/, true],
      ['... of its own', entry('mine.b', 'b'), undefined],
      ['... that no service has', entry('reviews.shop.example', 'b'), undefined],
    ];
    for (const [what, yaml, refused, warned] of rows) {
      const all = shop + root + yaml;
      const found = problems(all, { foreignRoutes: 'refuse' });
      if (refused === undefined) t.same(found, [], what);
      else
        t.match(
          found,
          [new RegExp(`spec\\.hosts\\[0\\]: must be a host of its own namespace: .*${refused.source}`)],
          what,
        );
      const warnings = good(all)
        .remarks()
        .filter((remark) => remark.includes('callers of other namespaces'));
      t.equal(warnings.length, warned === true ? 1 : 0, `${what}: by default a warning where another is concerned`);
    }
    const everything = shop + virtualService('hosts: ["*"]');
    for (const foreignRoutes of ['allow', 'refuse'] as const) {
      t.match(problems(everything, { foreignRoutes }), [
        /VirtualService b\/v: spec\.hosts\[0\]: must not be \* in the mesh/,
      ]);
    }
  },
);
