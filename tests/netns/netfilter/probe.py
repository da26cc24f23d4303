"""Sockets that ask and answer, for tests of what a node's netfilter does to them.

    probe.py serve ADDRESS PORT  TCP and UDP: who asked, and what; a line says that it listens
    probe.py hold ADDRESS PORT   the same, but says `held tcp` or `held udp` and answers after a line on standard input
    probe.py ask JSON            a list of {name, kind: tcp|udp|ping, to: [address, port], from?: port, at?: address, size?: bytes, ttl?: hops, hold?: true};
                                 hold: says `held` after the first answer, and asks again after a line on standard input;
                                 prints {name: "who asked" or "error: why"}, all at once
"""
import json
import os
import socket
import struct
import sys
import threading

PATIENCE = 4  # seconds: what is lost is lost; nothing healthy waits so long


released = threading.Event()


def release():
    sys.stdin.readline()
    released.set()


def hold(what):
    """Until a line comes."""
    os.write(1, f"held {what}\n".encode())  # whole: print() writes the end of line by itself, and both may wait at once
    released.wait(PATIENCE)


def serve(address, port, held=False):
    if not held:
        released.set()
    else:
        threading.Thread(target=release, daemon=True).start()
        timer = threading.Timer(10 * PATIENCE, os._exit, (1,))
        timer.daemon = True
        timer.start()
    tcp = socket.create_server((address, port), backlog=64)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((address, port))
    threading.Thread(target=datagrams, args=(udp,), daemon=True).start()
    print("listening", flush=True)
    while True:
        connection, peer = tcp.accept()
        threading.Thread(target=answer, args=(connection, peer), daemon=True).start()


def datagrams(udp):
    while True:
        data, peer = udp.recvfrom(65536)
        if not released.is_set():
            hold("udp")
        udp.sendto(peer[0].encode().ljust(len(data)), peer)


def answer(connection, peer):
    with connection, connection.makefile("rwb") as stream:
        for line in stream:
            if not released.is_set():
                hold("tcp")
            stream.write(peer[0].encode().ljust(len(line) - 1) + b"\n")
            stream.flush()


def ask(probe):
    payload = b"x" * probe.get("size", 5)
    if probe["kind"] == "ping":
        return ping(probe["to"][0], payload)
    if "ttl" in probe:
        return expire(probe)
    tcp = probe["kind"] == "tcp"
    kind = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((probe.get("at", ""), probe.get("from", 0)))
        if not tcp:
            if probe.get("connected", True):
                sock.connect(tuple(probe["to"]))
                sock.send(payload)
            else:
                sock.sendto(payload, tuple(probe["to"]))
            return sock.recv(65536).decode().strip()
        sock.connect(tuple(probe["to"]))
        with sock.makefile("rwb") as stream:
            for i in range(2):
                if i == 1 and probe.get("hold"):
                    hold(probe["name"])
                stream.write(payload + b"\n")
                stream.flush()
                line = stream.readline().decode().strip()
            return line


def expire(probe):
    """Which router says that the TTL expired."""
    ip_recverr = 11
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, ip_recverr, 1)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, probe["ttl"])
        sock.settimeout(PATIENCE)
        sock.connect(tuple(probe["to"]))
        sock.send(b"x")
        try:
            sock.recv(100)
        except socket.timeout:
            raise
        except OSError:
            pass  # EHOSTUNREACH: the error queue says who
        error = sock.recvmsg(100, 500, socket.MSG_ERRQUEUE)[1][0][2]
        return socket.inet_ntoa(error[20:24])


def ping(address, payload):
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.settimeout(PATIENCE)
        ident = struct.unpack("!H", os.urandom(2))[0] or 1
        packet = struct.pack("!BBHHH", 8, 0, 0, ident, 1) + payload + b"\0" * (len(payload) % 2)
        total = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
        total = (total & 0xFFFF) + (total >> 16)
        total = (total & 0xFFFF) + (total >> 16)
        packet = packet[:2] + struct.pack("!H", ~total & 0xFFFF) + packet[4:]
        sock.sendto(packet, (address, 0))
        while True:
            reply = sock.recv(65536)
            if reply[20] == 0 and reply[24:26] == packet[4:6]:
                return socket.inet_ntoa(reply[12:16])


def main():
    if sys.argv[1] in ("serve", "hold"):
        serve(sys.argv[2], int(sys.argv[3]), sys.argv[1] == "hold")
    answers = {}

    def run(probe):
        try:
            answers[probe["name"]] = ask(probe)
        except OSError as error:
            answers[probe["name"]] = f"error: {error}"

    threading.Thread(target=release, daemon=True).start()
    threads = [threading.Thread(target=run, args=(probe,)) for probe in json.loads(sys.argv[2])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(answers))


main()
