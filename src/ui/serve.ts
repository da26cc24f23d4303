/** `pcnk ui`: the page's own small server, until the signal. */
import { Ui, UI_PATH, type UiOptions } from "./answer.ts";
import { isLoopback } from "./guard.ts";

export interface ServeOptions extends Omit<UiOptions, "key" | "signal"> {
  /** `127.0.0.1:9880`; port 0: any. */
  listen: string;
  /** The address to open it by, once it listens. */
  ready: (url: string) => void;
}

/** `127.0.0.1:9880` taken apart. @throws Error telling what is expected */
export function parseListen(text: string): { hostname: string; port: number } {
  const [, hostname = "", digits = ""] = /^(\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F:]+\]):(\d{1,5})$/
    .exec(text) ?? [];
  const port = Number(digits);
  if (hostname === "" || port > 65535) throw new Error("It must be like 127.0.0.1:9880");
  return { hostname: hostname.replace(/^\[|\]$/g, ""), port };
}

/** @throws Error with a message for the user: the address is taken, or not a loopback one and that was not asked for */
export async function serveUi(options: ServeOptions, signal: AbortSignal): Promise<void> {
  const { hostname, port } = parseListen(options.listen);
  if (!options.remote && !isLoopback(hostname)) {
    throw new Error(
      `${options.listen} is not a loopback address; --allow-remote is for those who mean it, ssh -L is better`,
    );
  }
  const key = crypto.randomUUID().replaceAll("-", "");
  const ui = new Ui({ ...options, key, signal });
  let server: Deno.HttpServer<Deno.NetAddr>;
  try {
    server = Deno.serve(
      { hostname, port, onListen: () => {} },
      (request, { remoteAddr }) => ui.answer(request, remoteAddr.hostname),
    );
  } catch (error) {
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    throw new Error(`another process listens at ${options.listen}; give another --listen`);
  }
  const host = hostname.includes(":") ? `[${hostname}]` : hostname;
  options.ready(`http://${host}:${server.addr.port}${UI_PATH}?key=${key}`);
  await new Promise<void>((done) => {
    if (signal.aborted) done();
    signal.addEventListener("abort", () => done(), { once: true });
  });
  await server.shutdown();
}
