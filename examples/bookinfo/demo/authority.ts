// The certificate authority of the demo: a process of its own, as it would be in production.
import { runAuthority } from '@inmesh/ca';
import { endWithLauncher, tell } from './messages.ts';

const { BOOKINFO_AUTHORITY = '', BOOKINFO_NAMESPACE = '', BOOKINFO_ACCOUNTS = '', BOOKINFO_LIFE_MS } = process.env;

const running = await runAuthority({ dir: BOOKINFO_AUTHORITY, leafTtlMs: Number(BOOKINFO_LIFE_MS) });

// A token lets one service account join. Three versions of reviews share theirs, and ratings may be started again.
const tokens: Record<string, string> = {};
for (const serviceAccount of BOOKINFO_ACCOUNTS.split(',')) {
  const request = { namespace: BOOKINFO_NAMESPACE, serviceAccount, uses: 1_000, ttlMs: 86_400_000 };
  tokens[serviceAccount] = running.authority.createToken(request).token;
}

process.once('SIGTERM', () => void running.close().then(() => process.exit(0)));
endWithLauncher();
tell({ kind: 'authority', url: running.url, tokens });
