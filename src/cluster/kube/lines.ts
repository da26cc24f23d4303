/** A watch's body: one JSON value a line. */

/** An event of the API is at most a few megabytes: etcd's own limit for an object is 1.5. */
const maxLine = 32 * 1024 * 1024;

/**
 * The lines that each piece completes. What is left at the end is no line: the connection was cut.
 * @throws {Error} when a line has no end
 */
export async function* linesOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<string[]> {
  const decoder = new TextDecoder();
  let rest: string[] = [], length = 0;
  for await (const chunk of body) {
    const text = decoder.decode(chunk, { stream: true });
    const end = text.lastIndexOf("\n");
    if (end < 0) {
      rest.push(text);
      length += text.length;
      if (length > maxLine) throw new Error("a line has no end");
      continue;
    }
    const whole = rest.join("") + text.slice(0, end);
    rest = [text.slice(end + 1)];
    length = rest[0]!.length;
    yield whole.split("\n").filter((line) => line !== "");
  }
}
