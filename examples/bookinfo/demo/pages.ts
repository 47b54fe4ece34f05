import type { PageModel } from '../services/page.ts';

/** What a client got. Status 0: no answer at all, `error` says why. */
export type Visit =
  | { readonly status: 200; readonly page: PageModel }
  | { readonly status: number; readonly page: undefined; readonly error: string };

/** Reads the page as JSON, over plain HTTP, from outside the mesh. Never throws. */
export async function readPage(url: string, headers: Readonly<Record<string, string>> = {}): Promise<Visit> {
  try {
    const reply = await fetch(url, {
      headers: { accept: 'application/json', ...headers },
      signal: AbortSignal.timeout(10_000),
    });
    if (reply.status === 200) return { status: 200, page: (await reply.json()) as PageModel };
    return { status: reply.status, page: undefined, error: (await reply.text()).slice(0, 200) };
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : '';
    return { status: 0, page: undefined, error: `${error}${cause}` };
  }
}

/** Did every part answer, ratings included where the version shows stars? */
export function isComplete(page: PageModel | undefined): boolean {
  if (page === undefined || !page.details.ok || !page.reviews.ok) return false;
  const { ratings } = page.reviews.value;
  return ratings === undefined || 'hop' in ratings;
}

/** The version of reviews that answered, or '' when none did. */
export function reviewsVersion(page: PageModel | undefined): string {
  return page?.reviews.ok ? page.reviews.value.hop.version : '';
}
