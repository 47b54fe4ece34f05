import { generateKeyPairSync, type JsonWebKey as Jwk } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import Provider, { type AdapterPayload, type Configuration } from 'oidc-provider';
import type { Test } from 'tap';
import { Agent, request } from 'undici';
import type { IssuedPair } from './tls-server.ts';

/** A signing key with its private half. */
export type SigningKey = Jwk & { readonly kid: string };

export function signingKey(kid: string): SigningKey {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 });
  return { ...privateKey.export({ format: 'jwk' }), kid, alg: 'RS256', use: 'sig' };
}

/** What happens to requests for keys and for discovery; nothing: the provider answers. */
export type Trouble = (incoming: IncomingMessage, outgoing: ServerResponse) => void;

/** A real OpenID provider over TLS. */
export interface OpenIdProvider {
  readonly issuer: string;
  readonly port: number;
  /** Paths of requests for keys and for discovery, in order. */
  readonly asked: readonly string[];
  /** Publishes these keys from now on, and signs with the first. */
  useKeys(...keys: readonly SigningKey[]): void;
  /** In place of answers about keys. */
  trouble: Trouble | undefined;
  /** What it would answer now. */
  answer(incoming: IncomingMessage, outgoing: ServerResponse): void;
  /** By `client_credentials`: a JWT for the audience `https://shop.example`. */
  accessToken(): Promise<string>;
  /** Of `alice`, who logs in with a browser: the implicit flow, from the first redirect to the last. */
  idToken(): Promise<string>;
}

const audience = 'https://shop.example';
const clients = [
  {
    client_id: 'batch',
    client_secret: 'a secret of a test',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
  },
  {
    client_id: 'shop-page',
    grant_types: ['implicit'],
    response_types: ['id_token'],
    redirect_uris: ['https://shop.example/back'],
    token_endpoint_auth_method: 'none',
  },
] as NonNullable<Configuration['clients']>;

/** What a provider keeps of logins and grants; its own memory comes with a warning. */
function adapterOf(): NonNullable<Configuration['adapter']> {
  const kept = new Map<string, AdapterPayload>();
  return (model) => {
    const find = (id: string): AdapterPayload | undefined => kept.get(`${model} ${id}`);
    return {
      upsert: async (id, payload) => void kept.set(`${model} ${id}`, payload),
      find: async (id) => find(id),
      findByUid: async (uid) => [...kept.values()].find((payload) => payload.uid === uid),
      findByUserCode: async () => undefined,
      consume: async () => {},
      destroy: async (id) => void kept.delete(`${model} ${id}`),
      revokeByGrantId: async () => {},
    };
  };
}

function providerOf(issuer: string, keys: readonly SigningKey[]): Provider {
  const day = 86_400;
  const provider = new Provider(issuer, {
    clients,
    adapter: adapterOf(),
    jwks: { keys: keys as NonNullable<Configuration['jwks']>['keys'] },
    responseTypes: ['id_token', 'code'],
    cookies: { keys: ['a key of a test'] },
    ttl: { ClientCredentials: day, IdToken: day, Session: day, Grant: day, Interaction: day },
    interactions: { url: (_, { uid }) => `/login/${uid}` },
    // Everybody is known, and agrees to everything.
    findAccount: (_, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
    async loadExistingGrant({ oidc }) {
      const grant = new oidc.provider.Grant({
        clientId: oidc.client?.clientId ?? '',
        accountId: oidc.session?.accountId ?? '',
      });
      grant.addOIDCScope('openid');
      await grant.save();
      return grant;
    },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: () => ({ scope: 'read', audience, accessTokenFormat: 'jwt' }),
      },
    },
  });
  return provider;
}

/** Starts one on loopback, with a certificate for `localhost`. */
export async function openIdProvider(
  t: Test,
  pair: IssuedPair & { readonly rootPem: string },
  ...keys: readonly SigningKey[]
): Promise<OpenIdProvider> {
  const sockets = new Set<Socket>();
  const asked: string[] = [];
  let current: Provider;
  let answer: (incoming: IncomingMessage, outgoing: ServerResponse) => void;
  const server = createServer({ cert: pair.certificate, key: pair.key }, (incoming, outgoing) => {
    const { url = '' } = incoming;
    if (url.startsWith('/login/')) {
      void current.interactionFinished(incoming, outgoing, { login: { accountId: 'alice' } });
      return;
    }
    const aboutKeys = url.startsWith('/jwks') || url.startsWith('/.well-known/');
    if (aboutKeys) asked.push(url);
    if (aboutKeys && made.trouble !== undefined) made.trouble(incoming, outgoing);
    else answer(incoming, outgoing);
  });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const issuer = `https://localhost:${port}`;
  const dispatcher = new Agent({ connect: { ca: pair.rootPem } });
  t.teardown(async () => {
    await dispatcher.destroy();
    for (const socket of sockets) socket.destroy();
    server.close();
  });

  const made: OpenIdProvider = {
    issuer,
    port,
    asked,
    trouble: undefined,
    answer: (incoming, outgoing) => answer(incoming, outgoing),
    useKeys(...now) {
      current = providerOf(issuer, now);
      answer = current.callback();
    },
    async accessToken() {
      const { body } = await request(`${issuer}/token`, {
        dispatcher,
        method: 'POST',
        headers: {
          'content-type': 'application/x-www-form-urlencoded',
          authorization: `Basic ${Buffer.from('batch:a+secret+of+a+test').toString('base64')}`,
        },
        body: `grant_type=client_credentials&scope=read&resource=${encodeURIComponent(audience)}`,
      });
      const { access_token: token } = (await body.json()) as { readonly access_token: string };
      return token;
    },
    async idToken() {
      const query =
        'client_id=shop-page&response_type=id_token&scope=openid&nonce=n&redirect_uri=https%3A%2F%2Fshop.example%2Fback';
      const cookies = new Map<string, string>();
      let url = `${issuer}/auth?${query}`;
      while (url.startsWith(issuer)) {
        const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
        const { body, headers } = await request(url, { dispatcher, headers: { cookie } });
        await body.dump();
        for (const each of [headers['set-cookie'] ?? []].flat()) {
          const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(each) ?? [];
          cookies.set(name, value);
        }
        url = new URL(String(headers['location']), url).href;
      }
      return new URLSearchParams(new URL(url).hash.slice(1)).get('id_token') ?? `no token in ${url}`;
    },
  };
  made.useKeys(...keys);
  return made;
}
