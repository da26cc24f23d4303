#!/usr/bin/env python3
"""Steady load on a service, counted: every request that failed is told with its time and reason.

  load.py http ADDRESS PORT [--rate N] [--kept N]   N new connections a second, and N connections that are kept, each asking
                                                    ten times a second
  load.py udp ADDRESS PORT [--rate N]               N datagrams a second, each from a socket of its own
  load.py udp-one ADDRESS PORT [--rate N]           the same from one socket, one after the other

Prints "ready" after the first answer, runs until standard input ends, then prints one line of JSON:
{sent, ok, failed, errors: [[seconds, reason], ...], servers: {name: answers}, slowest_ms, longest_gap_ms}.
The server is agnhost's netexec: HTTP /hostname, UDP "hostname".
"""
import argparse, asyncio, collections, json, sys, time

p = argparse.ArgumentParser()
p.add_argument("protocol", choices=["http", "udp", "udp-one"])
p.add_argument("address")
p.add_argument("port", type=int)
p.add_argument("--rate", type=float, default=50)
p.add_argument("--kept", type=int, default=0)
p.add_argument("--path", default="/hostname")
p.add_argument("--timeout", type=float, default=5)
o = p.parse_args()

began = time.monotonic()
sent = ok = failed = 0
slowest = gap = 0.0
last = None
errors, servers = [], collections.Counter()


def good(server, started):
    global ok, slowest, gap, last
    now = time.monotonic()
    if last is None:
        print("ready", flush=True)
    else:
        gap = max(gap, now - last)
    last = now
    ok += 1
    slowest = max(slowest, now - started)
    servers[server] += 1


def bad(reason):
    global failed
    failed += 1
    if len(errors) < 20:
        errors.append([round(time.monotonic() - began, 3), reason])


async def ask(reader, writer, close):
    """one GET; returns the body"""
    end = "Connection: close\r\n" if close else ""
    writer.write(f"GET {o.path} HTTP/1.1\r\nHost: test\r\n{end}\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    status = head.split(b" ", 2)[1]
    if status != b"200":
        raise OSError(f"status {status.decode()}")
    length = next(int(l[15:]) for l in head.split(b"\r\n") if l.lower().startswith(b"content-length:"))
    return (await reader.readexactly(length)).decode()


async def once_http():
    reader, writer = await asyncio.open_connection(o.address, o.port)
    try:
        return await ask(reader, writer, True)
    finally:
        writer.close()


class Datagram(asyncio.DatagramProtocol):
    def __init__(self):
        self.answer = asyncio.get_running_loop().create_future()

    def datagram_received(self, data, _):
        if not self.answer.done():
            self.answer.set_result(data.decode())

    def error_received(self, error):
        if not self.answer.done():
            self.answer.set_exception(error)


async def once_udp():
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(Datagram, remote_addr=(o.address, o.port))
    try:
        transport.sendto(b"hostname")
        return await protocol.answer
    finally:
        transport.close()


class Talker(asyncio.DatagramProtocol):
    """one socket for all datagrams; the next is sent when the last one is answered"""
    answer = transport = None

    def datagram_received(self, data, _):
        if not self.answer.done():
            self.answer.set_result(data.decode())

    def error_received(self, error):
        if self.answer and not self.answer.done():
            self.answer.set_exception(error)

    async def once(self):
        loop = asyncio.get_running_loop()
        if not self.transport:
            self.transport, _ = await loop.create_datagram_endpoint(
                lambda: self, remote_addr=(o.address, o.port))
        self.answer = loop.create_future()
        self.transport.sendto(b"hostname")
        return await self.answer


async def attempt(kind, work):
    global sent
    sent += 1
    started = time.monotonic()
    try:
        good(await asyncio.wait_for(work, o.timeout), started)
        return True
    except Exception as e:
        bad(f"{kind} after {(time.monotonic() - started) * 1000:.0f} ms: {type(e).__name__} {e}")
        return False


async def kept(stop):
    """one connection that goes on for as long as the server lets it"""
    while not stop.is_set():
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(o.address, o.port), o.timeout)
        except Exception as e:
            bad(f"kept connect: {type(e).__name__} {e}")
            await asyncio.sleep(0.1)
            continue
        while not stop.is_set() and await attempt("kept", ask(reader, writer, False)):
            await asyncio.sleep(0.1)
        writer.close()


async def main():
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.run_in_executor(None, sys.stdin.read).add_done_callback(lambda _: stop.set())
    once = {"http": once_http, "udp": once_udp, "udp-one": Talker().once}[o.protocol]
    tasks = {asyncio.create_task(kept(stop)) for _ in range(o.kept)}
    due = time.monotonic()
    while not stop.is_set():
        if o.protocol == "udp-one":
            await attempt("one", once())
            due = time.monotonic() + 1 / o.rate
        elif o.rate > 0:
            t = asyncio.create_task(attempt("new", once()))
            tasks.add(t)
            t.add_done_callback(tasks.discard)
            due = max(due + 1 / o.rate, time.monotonic() - 1)
        else:
            due = time.monotonic() + 0.2
        await asyncio.sleep(max(0, due - time.monotonic()))
    await asyncio.gather(*tasks, return_exceptions=True)
    print(json.dumps({
        "sent": sent, "ok": ok, "failed": failed, "errors": errors, "servers": servers,
        "slowest_ms": round(slowest * 1000), "longest_gap_ms": round(gap * 1000),
    }), flush=True)


asyncio.run(main())
