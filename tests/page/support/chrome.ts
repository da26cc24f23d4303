/**
 * Headless Chromium in a network namespace, driven over the DevTools protocol by a pipe: its messages are JSON, ended by a nought
 * byte (--remote-debugging-pipe). No port, so it does not matter in which namespace it is, and it ends when the pipe does.
 */
import assert from "node:assert/strict";

/** Debian's chromium-headless-shell. */
export const CHROME = "/usr/bin/chromium-headless-shell";

/** Milliseconds that a thing on the page may take to come. */
const PATIENCE = 15_000;

// deno-lint-ignore no-explicit-any -- the protocol's own types are larger than all of this
type Message = any;

/** Starts `argv` with a piped standard input and output. */
type Spawn = (argv: string[]) => Deno.ChildProcess;

/** One page. Made by `openChrome`, and ended by `close`. */
export class Chrome implements AsyncDisposable {
  /** What the page wrote to the console, and what was refused it. */
  readonly complaints: string[] = [];
  private readonly writer: WritableStreamDefaultWriter<Uint8Array>;
  private readonly answers = new Map<number, (message: Message) => void>();
  private next = 1;
  private session = "";

  constructor(private readonly child: Deno.ChildProcess, private readonly profile: string) {
    this.writer = child.stdin.getWriter();
    void this.read();
  }

  private async read(): Promise<void> {
    let rest = "";
    for await (const text of this.child.stdout.pipeThrough(new TextDecoderStream())) {
      const messages = (rest + text).split("\0");
      rest = messages.pop()!;
      for (const message of messages) this.take(JSON.parse(message));
    }
    for (const answer of this.answers.values()) {
      answer({ error: { message: "Chromium has ended" } });
    }
  }

  private take(message: Message): void {
    const { id, method, params } = message;
    if (id !== undefined) {
      this.answers.get(id)?.(message);
      this.answers.delete(id);
    } else if (method === "Log.entryAdded" && params.entry.level === "error") {
      this.complaints.push(`${params.entry.text} ${params.entry.url ?? ""}`);
    } else if (method === "Runtime.exceptionThrown") {
      this.complaints.push(params.exceptionDetails.exception?.description ?? "an exception");
    } else if (method === "Page.javascriptDialogOpening") {
      this.complaints.push(`a dialog: ${params.message}`);
      void this.send("Page.handleJavaScriptDialog", { accept: true });
    }
  }

  async send(method: string, params: Message = {}): Promise<Message> {
    const id = this.next++;
    const answer = new Promise<Message>((done) => this.answers.set(id, done));
    const session = this.session === "" ? {} : { sessionId: this.session };
    const text = JSON.stringify({ id, method, params, ...session });
    await this.writer.write(new TextEncoder().encode(`${text}\0`));
    const { error, result } = await answer;
    if (error) throw new Error(`${method}: ${error.message}`);
    return result;
  }

  async start(): Promise<void> {
    const { targetId } = await this.send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
    this.session = sessionId;
    for (const part of ["Page", "Runtime", "Log"]) await this.send(`${part}.enable`);
  }

  async open(url: string): Promise<void> {
    await this.send("Page.navigate", { url });
  }

  /** The value of an expression on the page; a promise is awaited. */
  async eval<T = unknown>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", {
      expression,
      returnByValue: true,
      awaitPromise: true,
    });
    if (exceptionDetails) {
      throw new Error(`${expression}: ${exceptionDetails.exception?.description}`);
    }
    return result.value;
  }

  /** Waits until an expression is true. The page is asked at each of its frames. */
  async until(expression: string): Promise<void> {
    const found = await this.eval<boolean>(`new Promise((done) => {
      const end = performance.now() + ${PATIENCE};
      const look = () => {
        let is = false;
        try { is = Boolean(${expression}); } catch {}
        if (is || performance.now() > end) done(is);
        else setTimeout(look, 20);
      };
      look();
    })`);
    if (!found) assert.fail(`never became true: ${expression}\non the page:\n${await this.text()}`);
  }

  /** Waits until the view shows text that matches. */
  async shows(pattern: RegExp): Promise<void> {
    await this.until(`${pattern}.test(document.querySelector("#view").innerText)`);
  }

  /** What is to be read on the page. */
  text(): Promise<string> {
    return this.eval("document.body.innerText");
  }

  /** Clicks where the first visible element is that `expression` finds, as a mouse does. */
  async click(expression: string): Promise<void> {
    await this.until(expression);
    const at = await this.eval<{ x: number; y: number }>(`(() => {
      const one = ${expression};
      one.scrollIntoView({ block: "center" });
      const { x, y, width, height } = one.getBoundingClientRect();
      return { x: x + Math.min(width / 2, 40), y: y + height / 2 };
    })()`);
    const mouse = (type: string) =>
      this.send("Input.dispatchMouseEvent", { type, ...at, button: "left", clickCount: 1 });
    await mouse("mousePressed");
    await mouse("mouseReleased");
  }

  /** Presses keys one after the other: characters, or names such as `Tab`, `Enter`. */
  async press(...keys: string[]): Promise<void> {
    for (const key of keys) {
      const text = key.length === 1 ? key : key === "Enter" ? "\r" : undefined;
      const code = CODES[key] ?? key.toUpperCase().charCodeAt(0);
      const common = { key, windowsVirtualKeyCode: code, ...(text ? { text } : {}) };
      await this.send("Input.dispatchKeyEvent", {
        type: text ? "keyDown" : "rawKeyDown",
        ...common,
      });
      await this.send("Input.dispatchKeyEvent", { type: "keyUp", ...common });
    }
  }

  async type(text: string): Promise<void> {
    await this.send("Input.insertText", { text });
  }

  /** Pixels of a window, and whether its system is dark. */
  async look(width: number, height: number, dark = false): Promise<void> {
    const metrics = { width, height, deviceScaleFactor: 1, mobile: false };
    await this.send("Emulation.setDeviceMetricsOverride", metrics);
    const features = [
      { name: "prefers-color-scheme", value: dark ? "dark" : "light" },
      { name: "prefers-reduced-motion", value: "reduce" }, // pictures show no moment of a movement
    ];
    await this.send("Emulation.setEmulatedMedia", { features });
  }

  /** PNG of what is to be seen. */
  async picture(): Promise<Uint8Array> {
    const { data } = await this.send("Page.captureScreenshot", { format: "png" });
    return Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.send("Target.setDiscoverTargets", { discover: false }).catch(() => {});
    this.session = "";
    await this.send("Browser.close").catch(() => {});
    const timer = setTimeout(() => this.child.kill("SIGKILL"), 5000);
    await this.child.status;
    clearTimeout(timer);
    await Deno.remove(this.profile, { recursive: true });
  }
}

const CODES: Readonly<Record<string, number>> = {
  Tab: 9,
  Enter: 13,
  Escape: 27,
  ArrowLeft: 37,
  ArrowRight: 39,
  "/": 191,
  "?": 191,
};

/** A new browser with a profile of its own, and nothing but the pipe between it and us. */
export async function openChrome(spawn: Spawn): Promise<Chrome> {
  const profile = await Deno.makeTempDir({ prefix: "pcnk-page-" });
  const chrome = [
    CHROME,
    "--no-sandbox", // it refuses root otherwise; it only ever sees our own page
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
    `--user-data-dir=${profile}`,
  ];
  // The pipe's ends are descriptors 3 and 4.
  const child = spawn([
    "sh",
    "-c",
    'exec "$@" 3<&0 4>&1 >/dev/null 2>&1 </dev/null',
    "sh",
    ...chrome,
  ]);
  const made = new Chrome(child, profile);
  await made.start();
  return made;
}
