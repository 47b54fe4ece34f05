// The page: HTML out of what the services answered. No assets, no framework, works without JavaScript.
import type { DetailsAnswer } from './details.ts';
import type { Hop } from './hop.ts';
import { type Html, html, trusted } from './html.ts';
import { script, style } from './page-assets.ts';
import type { ReviewsAnswer } from './reviews.ts';

/** A part of the page: what a service answered, or why it did not. */
export type Part<T> =
  | { readonly ok: true; readonly value: T; readonly ms: number }
  | { readonly ok: false; readonly reason: string };

/** Everything that the page shows. Sent as it is when the client asks for JSON. */
export interface PageModel {
  readonly user: string | undefined;
  readonly hop: Hop;
  readonly details: Part<DetailsAnswer>;
  readonly reviews: Part<ReviewsAnswer>;
}

/** Renders the whole document. */
export function renderPage(page: PageModel): string {
  const title = page.details.ok ? page.details.value.title : 'Bookinfo';
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title} · Bookinfo</title>
<style>${trusted(style)}</style>
</head>
<body>
<header class="bar">
  <a class="brand" href="/productpage"><span class="mark"></span>Bookinfo</a>
  <span class="tag">six Node.js processes, one mesh, no sidecar</span>
  <span class="grow"></span>
  <label class="toggle" hidden><input type="checkbox" id="auto"><i></i>refresh every second</label>
  ${account(page.user)}
</header>
<main>
${hero(page.details)}
<div class="columns">
${reviewsSection(page.reviews)}
${hopsSection(page)}
</div>
</main>
<script>${trusted(script)}</script>
</body>
</html>
`.html;
}

function account(user: string | undefined): Html {
  if (user === undefined) {
    return html`<form method="post" action="/login"><input type="hidden" name="user" value="jason"><button>Sign in as jason</button></form>`;
  }
  return html`<form method="post" action="/logout"><span class="user">${user}</span><button class="quiet">Sign out</button></form>`;
}

function hero(details: Part<DetailsAnswer>): Html {
  if (!details.ok) {
    return html`<section class="hero"><div class="cover empty"></div><div><h1>A book</h1>
<p class="notice">Its details are not available right now (${details.reason}).</p></div></section>`;
  }
  const book = details.value;
  const facts = book.facts.map(([label, value]) => html`<div><dt>${label}</dt><dd>${value}</dd></div>`);
  return html`<section class="hero">
  <div class="cover" aria-hidden="true"><b>${book.title}</b><span>${book.author}</span></div>
  <div>
    <h1>${book.title}</h1>
    <p class="author">${book.author}</p>
    <p class="summary">${book.summary}</p>
    <dl>${facts}</dl>
  </div>
</section>`;
}

function reviewsSection(part: Part<ReviewsAnswer>): Html {
  if (!part.ok) {
    return html`<section class="reviews" data-version=""><h2>Reviews</h2>
<p class="notice">Reviews are not available right now (${part.reason}).</p></section>`;
  }
  const { reviews, color, ratings, hop } = part.value;
  const note =
    ratings !== undefined && 'failed' in ratings
      ? html`<p class="notice">Ratings are not available right now (${ratings.failed}). The reviews are.</p>`
      : undefined;
  const cards = reviews.map(
    (review) => html`<article>
  ${review.stars === undefined ? undefined : stars(review.stars, color ?? 'black')}
  <blockquote>${review.text}</blockquote>
  <p class="reviewer">${review.reviewer}</p>
</article>`,
  );
  return html`<section class="reviews" data-version="${hop.version}">
  <h2>Reviews <span class="version ${hop.version}">reviews ${hop.version}</span></h2>
  <div class="seen" hidden><span>Versions seen</span><ol id="seen"></ol></div>
  ${note}${cards}
</section>`;
}

function stars(count: number, color: 'black' | 'red'): Html {
  const five = [1, 2, 3, 4, 5].map((n) => html`<i class="${n <= count ? 'on' : 'off'}">★</i>`);
  return html`<p class="stars ${color}" aria-label="${count} of 5 stars">${five}</p>`;
}

/** One line of the panel: who called, over what, who answered. */
interface Call {
  readonly caller: string | null;
  readonly to: string;
  readonly version: string;
  readonly requestId?: string;
  readonly ms?: number;
  readonly failed?: string;
}

function callsOf(page: PageModel): Call[] {
  const calls: Call[] = [callOf(page.hop)];
  if (page.details.ok) calls.push({ ...callOf(page.details.value.hop), ms: page.details.ms });
  else calls.push({ caller: null, to: 'details', version: '', failed: page.details.reason });
  if (!page.reviews.ok) return [...calls, { caller: null, to: 'reviews', version: '', failed: page.reviews.reason }];
  calls.push({ ...callOf(page.reviews.value.hop), ms: page.reviews.ms });
  const { ratings } = page.reviews.value;
  if (ratings === undefined) return calls;
  if ('hop' in ratings) calls.push(callOf(ratings.hop));
  else calls.push({ caller: null, to: 'ratings', version: '', failed: ratings.failed });
  return calls;
}

function callOf(hop: Hop): Call {
  return { caller: hop.caller, to: hop.service, version: hop.version, requestId: hop.requestId };
}

function hopsSection(page: PageModel): Html {
  const calls = callsOf(page);
  const ids = new Set(calls.map((call) => call.requestId).filter((id) => id !== undefined));
  const shared =
    ids.size === 1
      ? html`<p class="id">The same request id in every service, without a line of code:<br><code>${[...ids][0]}</code></p>`
      : undefined;
  return html`<section class="hops">
  <h2>Who called whom</h2>
  <p class="hint">What each service saw: the identity that its caller's certificate proved.</p>
  <ol>${calls.map(hopLine)}</ol>
  ${shared}
</section>`;
}

function hopLine(call: Call): Html {
  const target = html`<span class="to"><b>${call.to}</b>${call.version === '' ? undefined : html` <span class="version ${call.to === 'reviews' ? call.version : 'plain'}">${call.version}</span>`}</span>`;
  const time = call.ms === undefined ? undefined : html`<span class="ms">${call.ms.toFixed(1)} ms</span>`;
  if (call.failed !== undefined) {
    return html`<li class="failed"><div class="line">${target}<span class="badge bad">no answer</span></div><p class="who">${call.failed}</p></li>`;
  }
  if (call.caller === null) {
    return html`<li class="plain"><div class="line">${target}<span class="badge open">plain HTTP</span>${time}</div>
<p class="who">a browser without a certificate: the policy of this one service is PERMISSIVE</p></li>`;
  }
  return html`<li class="safe"><div class="line">${target}<span class="badge safe">${lock}mTLS</span>${time}</div>
<p class="who">called by ${spiffe(call.caller)}</p></li>`;
}

/** A SPIFFE ID with its last part, the service account, set off. */
function spiffe(id: string): Html {
  const cut = id.lastIndexOf('/') + 1;
  return html`<code>${id.slice(0, cut)}<b>${id.slice(cut)}</b></code>`;
}

const lock = trusted(
  '<svg viewBox="0 0 16 16" width="11" height="11" aria-hidden="true"><path fill="currentColor" d="M8 1a3.5 3.5 0 0 0-3.5 3.5V7H4a1 1 0 0 0-1 1v6a1 1 0 0 0 1 1h8a1 1 0 0 0 1-1V8a1 1 0 0 0-1-1h-.5V4.5A3.5 3.5 0 0 0 8 1Zm-2 6V4.5a2 2 0 1 1 4 0V7H6Z"/></svg>',
);
