/** Longest line that is read, in characters; what is longer is a bad line. */
const maxLineLength = 64 * 1024 * 1024;

/** The lines of a stream, without their ends, as they arrive; a last line needs no end. */
export async function* linesOf(input: AsyncIterable<string | Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of input) {
    const text = typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true });
    let from = 0;
    for (let end = text.indexOf('\n'); end !== -1; end = text.indexOf('\n', from)) {
      yield trimEnd(rest + text.slice(from, end));
      rest = '';
      from = end + 1;
    }
    // The rest of a line that is too long is dropped; cut off, it is no JSON any more.
    if (rest.length < maxLineLength) rest += text.slice(from);
  }
  rest += decoder.decode();
  if (rest !== '') yield trimEnd(rest);
}

function trimEnd(line: string): string {
  return line.endsWith('\r') ? line.slice(0, -1) : line;
}

/** A question of one line: an object, with the id under which it is answered. */
export interface Question {
  readonly id: unknown;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Answers that cannot be given: the line is answered with `{"id", "error"}`, and the rest goes on. */
export class BadLine extends Error {
  override readonly name: string = 'BadLine';
}

/**
 * Answers JSON Lines with JSON Lines: one each, in the same order, as they come. What is wrong with a
 * line is its answer and never ends the conversation. Empty lines are skipped.
 */
export async function answerLines(
  input: AsyncIterable<string | Uint8Array>,
  output: { line(text: string): void; drained?(): Promise<void> },
  answer: (question: Question) => Promise<Readonly<Record<string, unknown>>>,
): Promise<void> {
  for await (const line of linesOf(input)) {
    if (line.trim() === '') continue;
    output.line(JSON.stringify(await answerTo(line, answer)));
    await output.drained?.();
  }
}

async function answerTo(
  line: string,
  answer: (question: Question) => Promise<Readonly<Record<string, unknown>>>,
): Promise<Readonly<Record<string, unknown>>> {
  let id: unknown = null;
  try {
    const body = parseLine(line);
    id = body['id'] ?? null;
    return { id, ...(await answer({ id, body })) };
  } catch (error) {
    return { id, error: error instanceof Error ? error.message : String(error) };
  }
}

function parseLine(line: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    throw new BadLine(`is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (!isRecord(value)) throw new BadLine('must be a JSON object');
  return value;
}

/** A JSON object: not a list, not null. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
