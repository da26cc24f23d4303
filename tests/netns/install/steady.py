#!/usr/bin/env python3
"""A steady load on a service, where every packet counts.

  steady.py serve ADDRESS PORT   echoes UDP datagrams and TCP streams
  steady.py load ADDRESS PORT [KEPT FRESH]
                                 a thousand numbered datagrams a second from one socket, KEPT (8) TCP connections that are kept, and
                                 FRESH (50) new ones a second; after the first answers "ready" and the ports that last:
                                 the socket's and the kept connections'; at SIGTERM one line of JSON

Everything is told on standard error. {sent, lost, kept: exchanges over kept connections, fresh: new connections, failed: [reasons],
longest_gap_ms: between two datagrams' answers}
"""
import json, signal, socket, socketserver, sys, threading, time

mode, target = sys.argv[1], (sys.argv[2], int(sys.argv[3]))
kept, fresh = map(int, sys.argv[4:6] or (8, 50))
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
lock = threading.Lock()
counts = {"sent": 0, "lost": 0, "kept": 0, "fresh": 0, "failed": [], "longest_gap_ms": 0}
answered = set()
lasting = []


def datagrams():
    """a socket whose queue outlasts seconds without a processor: what a busy machine is slow to read is not lost"""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
    return udp


def say(text):
    print(text, file=sys.stderr, flush=True)


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(100):
            self.request.sendall(data)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    request_queue_size = 100


def serve():
    server = Server(target, Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    udp = datagrams()
    udp.bind(target)
    say("ready")
    while True:
        udp.sendto(*udp.recvfrom(100))


def receive(udp):
    last = None
    while True:
        try:
            data = udp.recv(100)
        except OSError as e:
            with lock:
                counts["failed"].append(f"datagram: {e}")
            continue
        now = time.monotonic()
        if last:
            counts["longest_gap_ms"] = max(counts["longest_gap_ms"], round((now - last) * 1000))
        last = now
        answered.add(int(data))


def exchange(sock, text):
    sock.sendall(text)
    if sock.recv(100) != text:
        raise OSError("another answer, or an end")


def connections(pause, keep):
    """asks again and again, over one connection or over a new one each time"""
    sock = None
    while not stop.is_set():
        try:
            if not sock:
                sock = socket.create_connection(target, 5)
                if keep:
                    lasting.append(sock.getsockname()[1])
            exchange(sock, b"hello")
            with lock:
                counts["kept" if keep else "fresh"] += 1
            if not keep:
                sock.close()
        except OSError as e:
            with lock:
                counts["failed"].append(f"{'kept' if keep else 'new'} connection: {e}")
            sock = None
        if not keep:
            sock = None
        stop.wait(pause)


def load():
    udp = datagrams()
    udp.connect(target)
    lasting.append(udp.getsockname()[1])
    ready = False
    threading.Thread(target=receive, args=[udp], daemon=True).start()
    threads = [threading.Thread(target=connections, args=[kept / 1600, True]) for _ in range(kept)]
    threads.append(threading.Thread(target=connections, args=[1 / fresh, False]))
    for thread in threads:
        thread.start()
    due = time.monotonic()
    while not stop.is_set():
        udp.send(b"%d" % counts["sent"])
        counts["sent"] += 1
        if not ready and counts["sent"] >= 100 and answered and len(lasting) > kept:
            ready = True
            say(" ".join(["ready", *map(str, lasting)]))
        due += 0.001
        time.sleep(max(0, due - time.monotonic()))
    for thread in threads:
        thread.join()
    end = time.monotonic() + 2
    while len(answered) < counts["sent"] and time.monotonic() < end:
        time.sleep(0.01)
    counts["lost"] = counts["sent"] - len(answered)
    say(json.dumps(counts))


serve() if mode == "serve" else load()
