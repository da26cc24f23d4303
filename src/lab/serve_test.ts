import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createSocket } from "node:dgram";
import { serve } from "./serve.ts";

async function ask(port: number, text: string, answerBytes: number): Promise<string> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  await connection.write(new TextEncoder().encode(text));
  let answer = "";
  const chunk = new Uint8Array(1024);
  while (answer.length < answerBytes) {
    const count = await connection.read(chunk);
    if (count === null) break;
    answer += new TextDecoder().decode(chunk.subarray(0, count));
  }
  const { port: own } = connection.localAddr as Deno.NetAddr;
  return answer.replaceAll(`127.0.0.1:${own}`, "CLIENT");
}

Deno.test("serve() answers each TCP line with name, client and line", async () => {
  const server = await serve("pod1-1", 0);
  try {
    assert.equal(await ask(server.port, "a\nb\n", 50), "pod1-1 CLIENT a\npod1-1 CLIENT b\n");
  } finally {
    await server.close();
  }
});

Deno.test("serve() speaks enough HTTP for curl", async () => {
  const server = await serve("pod1-1", 0);
  try {
    const response = await fetch(`http://127.0.0.1:${server.port}/x`);
    assert.equal(response.status, 200);
    assert.match(await response.text(), /^pod1-1 127\.0\.0\.1:\d+ GET \/x HTTP\/1\.1\n$/);
  } finally {
    await server.close();
  }
});

Deno.test("serve() answers a datagram in a datagram, with the same bytes", async () => {
  const server = await serve("pod1-1", 0);
  const socket = createSocket("udp4");
  try {
    const answered = new Promise<Buffer>((resolve) => socket.once("message", resolve));
    socket.send(Buffer.from([0, 255, 10, 65]), server.port, "127.0.0.1");
    const answer = await answered;
    assert.deepEqual([...answer.subarray(-4)], [0, 255, 10, 65]);
    assert.match(answer.toString("latin1"), /^pod1-1 127\.0\.0\.1:\d+ /);
  } finally {
    socket.close();
    await server.close();
  }
});

Deno.test("serve() refuses a port that is taken and holds nothing open then", async () => {
  const server = await serve("a", 0);
  await assert.rejects(serve("b", server.port));
  await server.close();
});

Deno.test("serve() closes with connections open", async () => {
  const server = await serve("a", 0);
  using connection = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
  await connection.write(new TextEncoder().encode("x\n"));
  await connection.read(new Uint8Array(64));
  await server.close();
  assert.equal(await connection.read(new Uint8Array(64)), null);
});
