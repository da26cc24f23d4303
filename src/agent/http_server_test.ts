/** Requests over real sockets: whole ones, odd ones, and clients that hold on to connections. */
import assert from "node:assert/strict";
import { HttpServer } from "./http_server.ts";

const encode = (text: string) => new TextEncoder().encode(text);

async function withServer(
  test: (server: HttpServer, connect: () => Promise<Deno.TcpConn>) => Promise<void>,
  limits: ConstructorParameters<typeof HttpServer>[2] = {},
) {
  const server = new HttpServer({ hostname: "127.0.0.1", port: 0 }, async (request, from) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/fail") throw new Error("failed");
    if (pathname === "/large") return new Response("x".repeat(32 << 20));
    if (pathname !== "/stream") {
      const body = await request.text();
      const host = request.headers.get("host") ?? "none";
      return new Response(`${request.method} ${pathname} ${from} ${host} ${body}`);
    }
    const headers = { "content-type": "text/event-stream" };
    return new Response(
      new ReadableStream({ start: (stream) => stream.enqueue(encode("a")), cancel: streamEnded }),
      { headers },
    );
  }, limits);
  const open: Deno.TcpConn[] = [];
  try {
    await test(server, async () => {
      const conn = await Deno.connect({ hostname: "127.0.0.1", port: server.address.port });
      open.push(conn);
      return conn;
    });
  } finally {
    for (const conn of open) {
      try {
        conn.close();
      } catch {
        // Closed by the test.
      }
    }
    await server.close();
  }
}

let streamEnded = () => {};

async function readAll(conn: Deno.Conn): Promise<string> {
  let text = "";
  const buffer = new Uint8Array(65536);
  for (;;) {
    const count = await conn.read(buffer).catch(() => null);
    if (count === null) return text;
    text += new TextDecoder().decode(buffer.subarray(0, count));
  }
}

Deno.test("HttpServer replies to requests of fetch", () =>
  withServer(async (server) => {
    const url = `http://127.0.0.1:${server.address.port}`;
    const get = await fetch(`${url}/a?b`);
    const text = `GET /a 127.0.0.1 ${new URL(url).host} `;
    assert.deepEqual([get.status, await get.text()], [200, text]);
    assert.equal(get.headers.get("content-length"), `${text.length}`);
    const put = await fetch(`${url}/a`, { method: "PUT", body: "body" });
    assert.match(await put.text(), / body$/);
    const head = await fetch(`${url}/a`, { method: "HEAD" });
    assert.deepEqual([head.headers.get("content-length"), await head.text()], [
      `${text.length + 1}`,
      "",
    ]);
    const long = await fetch(`${url}/a`, { method: "PUT", body: "x".repeat(65537) });
    assert.deepEqual([long.status, await long.text()], [413, ""]);
    const failed = await fetch(`${url}/fail`);
    assert.deepEqual([failed.status, await failed.text()], [500, ""]);
  }));

for (
  const [what, sent, status] of [
    ["HTTP/1.0 without a Host", "GET / HTTP/1.0\r\n\r\n", 200],
    ["no HTTP", "hello\r\n\r\n", 400],
    ["a proxy's target", "GET http://a/ HTTP/1.1\r\n\r\n", 400],
    ["a folded field", "GET / HTTP/1.1\r\na: b\r\n c\r\n\r\n", 400],
    ["a bad Host", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400],
    ["a chunked body", "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 501],
    ["a negative length", "PUT / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400],
    ["a head without an end", `GET / HTTP/1.1\r\na: ${"x".repeat(16 << 10)}`, 431],
    ["a forbidden method", "TRACE / HTTP/1.1\r\n\r\n", 400],
  ] as const
) {
  Deno.test(`HttpServer replies with ${status} to ${what}`, () =>
    withServer(async (_, connect) => {
      const conn = await connect();
      await conn.write(encode(sent));
      assert.match(await readAll(conn), new RegExp(`^HTTP/1\\.1 ${status} `));
    }));
}

Deno.test("HttpServer replies though many clients hold incomplete requests", () =>
  withServer(async (server, connect) => {
    const slow: Deno.TcpConn[] = [];
    for (let i = 0; i < 20; i++) {
      const conn = await connect();
      await conn.write(encode("GET / HTTP/1.1\r\n"));
      slow.push(conn);
    }
    const answer = await fetch(`http://127.0.0.1:${server.address.port}/`);
    assert.match(await answer.text(), /^GET/);
    assert.equal(await readAll(slow[0]!), ""); // closed for one that came later
  }, { connections: 8, requestMs: 60_000 }));

Deno.test("HttpServer closes a connection whose request, or whose reply, takes too long", () =>
  withServer(async (_, connect) => {
    const silent = await connect();
    assert.equal(await readAll(silent), "");
    const drip = await connect();
    await drip.write(encode("PUT / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf"));
    assert.equal(await readAll(drip), "");
    const unread = await connect();
    await unread.write(encode("GET /large HTTP/1.1\r\n\r\n"));
    await new Promise((done) => setTimeout(done, 600));
    assert.ok((await readAll(unread)).length < 32 << 20);
  }, { requestMs: 100, writeMs: 100 }));

Deno.test("HttpServer ends a stream when its client is gone", () =>
  withServer(async (_, connect) => {
    const ended = new Promise<void>((done) => streamEnded = done);
    const conn = await connect();
    await conn.write(encode("GET /stream HTTP/1.1\r\n\r\n"));
    await conn.read(new Uint8Array(1024));
    conn.close();
    await ended;
  }));
