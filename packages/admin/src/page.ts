import { createHash } from 'node:crypto';
import { bucketBoundsMs } from 'inmesh';
import type { Answer } from './answer.ts';
import { pageRows } from './page-figures.ts';
import { script } from './page-script.ts';
import { style } from './page-style.ts';

const code = `${pageRows.toString()}\nconst bounds = ${JSON.stringify(bucketBoundsMs)};\n${script}`;
const hashOf = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

/** The page at `/`: one document, nothing from elsewhere, no data in it: it asks `/stats` like anybody. */
export const page: Answer = {
  type: 'text/html; charset=utf-8',
  headers: {
    'content-security-policy': [
      "default-src 'none'",
      `script-src ${hashOf(code)}`,
      `style-src ${hashOf(style)}`,
      "connect-src 'self'",
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
    ].join('; '),
  },
  body: `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>inmesh</title>
<style>${style}</style>
</head>
<body>
<header>
<h1 id="name">inmesh</h1>
<p id="state" role="status">loading</p>
</header>
<main>
<form id="login" hidden><label>Token <input id="token" type="password" autocomplete="off"></label> <button>Show</button></form>
<ul id="problems" hidden></ul>
<dl id="facts"></dl>
<section><h2>Calls made</h2><table id="out"><thead><tr><th>service<th>req/s<th>success<th>p50<th>p99<th>total</thead><tbody></tbody></table></section>
<section><h2>Calls served</h2><table id="in"><thead><tr><th>caller<th>req/s<th>success<th>p50<th>p99<th>total</thead><tbody></tbody></table></section>
<section><h2>Endpoints</h2><table id="endpoints"><thead><tr><th>endpoint<th>state<th>workload<th>cluster<th>active<th>ejections</thead><tbody></tbody></table></section>
<section><h2>Circuit breakers</h2><table id="breakers"><thead><tr><th>cluster<th>state<th>failures<th>calls<th>openings<th>refused</thead><tbody></tbody></table></section>
<nav id="links"></nav>
</main>
<script>${code}</script>
</body>
</html>
`,
};
