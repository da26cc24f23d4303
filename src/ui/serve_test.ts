import { deepEqual, equal, match, rejects } from "node:assert/strict";
import { type ServeOptions, serveUi } from "./serve.ts";

function options(listen: string, ready: (url: string) => void = () => {}): ServeOptions {
  return {
    bpffs: "/nonexistent",
    stateDir: "/nonexistent",
    listen,
    ready,
    remote: false,
    node: () => "node1",
    why: () => Promise.resolve({ findings: [] }),
    asset: (name) => new TextEncoder().encode(name),
  };
}

Deno.test("serveUi() refuses an address that others can reach, unless that is said", async () => {
  const signal = AbortSignal.timeout(5000);
  for (const listen of ["0.0.0.0:0", "192.0.2.1:0", "[::]:0"]) {
    await rejects(serveUi(options(listen), signal), /not a loopback address; --allow-remote/);
  }
});

Deno.test("serveUi() tells the address to open, with a key of its own; a taken one is said", async () => {
  const end = new AbortController();
  let opened: (url: string) => void;
  const url = new Promise<string>((done) => opened = done);
  const serving = serveUi(options("127.0.0.1:0", (text) => opened(text)), end.signal);
  const address = new URL(await url);
  match(address.search, /^\?key=[0-9a-f]{32}$/);
  const entered = await fetch(address, { redirect: "manual" });
  const cookie = entered.headers.get("set-cookie")!.split(";")[0]!;
  await entered.body?.cancel();
  const page = await fetch(new URL("/ui/", address), { headers: { cookie } });
  deepEqual([page.status, await page.text()], [200, "ui.html"]);
  await rejects(serveUi(options(address.host), end.signal), /another process listens at/);
  end.abort();
  equal(await serving, undefined);
});
