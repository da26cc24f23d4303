import assert from "node:assert/strict";
import "../../tests/support/libraries.ts";
import { closeFd, syscall } from "./libc.ts";
import { Poller } from "./poll.ts";

const one = () => new Uint8Array(new BigUint64Array([1n]).buffer);

async function withEvent(fn: (fd: number, poller: Poller) => Promise<void>): Promise<void> {
  const fd = syscall("eventfd2", 0, 0o2000000);
  try {
    await using poller = new Poller(fd);
    await fn(fd, poller);
  } finally {
    closeFd(fd);
  }
}

Deno.test("Poller.readable() resolves when there is something to read", () =>
  withEvent(async (fd, poller) => {
    const waiting = poller.readable();
    syscall("write", fd, one(), 8);
    assert.equal(await waiting, true);
    assert.equal(await poller.readable(1000), true, "still");
    syscall("read", fd, new Uint8Array(8), 8);
    assert.equal(await poller.readable(5), false);
  }));

Deno.test("Poller.readable() takes one wait at a time", () =>
  withEvent(async (_, poller) => {
    const waiting = poller.readable(20);
    await assert.rejects(poller.readable(), TypeError);
    assert.equal(await waiting, false);
  }));

Deno.test("Poller.close() ends a wait", () =>
  withEvent(async (_, poller) => {
    const waiting = poller.readable();
    await poller.close();
    assert.equal(await waiting, false);
    assert.equal(await poller.readable(), false);
  }));
