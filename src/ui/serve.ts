/** `pcnk ui`: the page's own small server, until the signal. */
import { joinHostPort, splitHostPort } from "../net/host_port.ts";
import { Ui, UI_PATH, type UiOptions } from "./answer.ts";
import { isLoopback } from "../net/scope.ts";

export interface ServeOptions extends Omit<UiOptions, "key" | "signal"> {
  /** `127.0.0.1:9880`; port 0: any. */
  listen: string;
  /** The address to open it by, once it listens. */
  ready: (url: string) => void;
}

/** @throws Error with a message for the user: the address is taken, or not a loopback one and that was not asked for */
export async function serveUi(options: ServeOptions, signal: AbortSignal): Promise<void> {
  const { address: hostname, port } = splitHostPort(options.listen);
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
  options.ready(`http://${joinHostPort(hostname, server.addr.port)}${UI_PATH}?key=${key}`);
  await new Promise<void>((done) => {
    if (signal.aborted) done();
    signal.addEventListener("abort", () => done(), { once: true });
  });
  await server.shutdown();
}
