/** Text that is HTML already. */
export interface Html {
  readonly html: string;
}

type Piece = Html | string | number | undefined | readonly Html[];

/** Template tag: escapes every value that is not {@link Html} itself. */
export function html(strings: TemplateStringsArray, ...values: readonly Piece[]): Html {
  let out = strings[0] as string;
  values.forEach((value, i) => {
    out += render(value) + strings[i + 1];
  });
  return { html: out };
}

/** Marks text of our own as HTML. Never for anything that came in with a request. */
export function trusted(text: string): Html {
  return { html: text };
}

function render(value: Piece): string {
  if (value === undefined) return '';
  if (typeof value === 'string') return escapeHtml(value);
  if (typeof value === 'number') return String(value);
  if ('html' in value) return value.html;
  return value.map((piece) => piece.html).join('');
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] as string);
}
