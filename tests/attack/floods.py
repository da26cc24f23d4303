"""Floods, and a neighbour whose connections, requests and pings should live through them.

  floods.py hold IDLE BUSY END…        opens connections to line echo servers, of which BUSY talk all the time, beside new
                                       connections, pings and datagrams in fragments; says `ready`; for each line that it
                                       reads it says as JSON what came since the one before; when standard input ends, it
                                       uses each connection once more. END is HOST:PORT (connections), ping:HOST,
                                       long:HOST (a ping of three fragments), or udp:HOST:PORT (a datagram of three, both ways)
  floods.py udp HOST FLOWS [RATE]      so many flows, two datagrams each; 64,512 to one port, then to the next one
  floods.py connect HOST:PORT,… COUNT [RATE]   so many half-open connections from the own address
  floods.py syn HOST PORT COUNT [RATE]         the same from as many addresses
  floods.py claims HOST PORT COUNT [RATE]      flows of UDP from as many addresses
  floods.py fragments HOST,… PORT COUNT [RATE]   fragments of as many datagrams, the first one or a later one
  floods.py later HOST PORT COUNT [RATE]       later ones only, from another address

  floods.py echo PORT                  a server for what a flood brings: echoes datagrams, closes connections, until
                                       standard input ends

RATE is packets a second, 0 as fast as it can. A flood makes its packets, says `ready`, sends them when it reads a line, and
ends with `sent PACKETS SECONDS`: what it takes should be the packets' way, not their making.
"""
import ctypes
import json
import os
import random
import select
import socket
import struct
import sys
import time


def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


class Lost(Exception):
    pass


def ask(connection, number):
    line = b"line %d\n" % number
    answer = b""
    try:
        connection.sendall(line)
        while not answer.endswith(line):
            part = connection.recv(4096)
            if not part:
                raise Lost("closed")
            answer += part
    except OSError as error:
        raise Lost(str(error)) from None


def connect(end, seconds=10):
    try:
        return socket.create_connection(end, timeout=seconds)
    except OSError as error:
        raise Lost(str(error)) from None


class Pinger:
    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self.socket.settimeout(2)
        self.id, self.sequence = os.getpid() & 0xFFFF, 0

    def ping(self, host, words=4):
        self.sequence = self.sequence + 1 & 0xFFFF
        head = struct.pack("!HH", self.id, self.sequence)
        body = head + b"pcnk" * words
        self.socket.sendto(struct.pack("!BBH", 8, 0, checksum(b"\x08\0\0\0" + body)) + body, (host, 0))
        try:
            while True:
                packet = self.socket.recv(8192)
                if packet[20] == 0 and packet[24:28] == head:
                    return
        except OSError as error:
            raise Lost(str(error)) from None


class Datagrams:
    def __init__(self):
        self.sockets, self.number = {}, 0

    def ask(self, end):
        self.number += 1
        if end not in self.sockets:
            self.sockets[end] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.sockets[end].settimeout(2)
            self.sockets[end].connect(end)
        text = b"%d " % self.number + b"x" * 4000
        try:
            self.sockets[end].send(text)
            while text not in self.sockets[end].recv(65536):
                pass
        except OSError as error:
            raise Lost(str(error)) from None


class Phase:
    """What came of each kind of use: how often, in what time, what was lost."""

    def __init__(self):
        self.times, self.lost = {}, {}

    def use(self, kind, what, *args):
        begin = time.perf_counter()
        try:
            found = what(*args)
        except Lost as error:
            self.lost.setdefault(kind, []).append("%s %s" % (args[0] if isinstance(args[0], (tuple, str)) else "", error))
            return None
        self.times.setdefault(kind, []).append(time.perf_counter() - begin)
        return found

    def report(self):
        report = {}
        for kind in sorted({*self.times, *self.lost}):
            times = sorted(self.times.get(kind, []))
            at = lambda part: round(1e6 * times[min(len(times) - 1, int(part * len(times)))]) if times else None
            lost = self.lost.get(kind, [])
            report[kind] = {"count": len(times), "p50": at(0.5), "p99": at(0.99), "max": at(1), "lost": len(lost),
                            "errors": sorted(set(lost))[:5]}
        return report


def hold(idle, busy, *ends):
    split = [end.split(":") for end in ends]
    servers = [(end[0], int(end[1])) for end in split if len(end) == 2 and end[0] not in ("ping", "long")]
    pings = [(end[1], 4 if end[0] == "ping" else 1000) for end in split if end[0] in ("ping", "long")]
    datagrams = [(end[1], int(end[2])) for end in split if end[0] == "udp"]
    connections = []
    for i in range(idle + busy):
        connection = connect(servers[i % len(servers)], 30)
        ask(connection, i)
        connections.append(connection)
    gone = {}

    def talk(i):
        try:
            ask(connections[i], i)
        except Lost as error:
            gone[i] = str(error)
            raise

    def open_close(end):
        connection = connect(end)
        ask(connection, 0)
        connection.close()

    pinger = Pinger() if pings else None
    sender = Datagrams()
    phase, asked, step = Phase(), 0, 0
    print("ready", flush=True)
    while True:
        if select.select([sys.stdin], [], [], 0)[0]:
            if not os.read(0, 100):
                break
            print(json.dumps(phase.report()), flush=True)
            phase = Phase()
        i = step % busy
        if i not in gone:
            asked += phase.use("request", talk, i) is None and i not in gone
        if step % 5 == 0:
            phase.use("connection", open_close, servers[step // 5 % len(servers)])
        if pings and step % 10 == 0:
            phase.use("ping", pinger.ping, *pings[step // 10 % len(pings)])
        if datagrams and step % 10 == 5:
            phase.use("datagram", sender.ask, datagrams[step // 10 % len(datagrams)])
        step += 1
        time.sleep(0.001)
    for i in range(idle + busy):
        try:
            talk(i)
        except Lost:
            pass
    report = {"idle": len([i for i in gone if i >= busy]), "busy": len([i for i in gone if i < busy]),
              "asked": asked, "errors": sorted(set(gone.values()))}
    print(json.dumps(report), flush=True)


class Header(ctypes.Structure):
    """struct msghdr, of a connected socket."""

    _fields_ = [("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32), ("vector", ctypes.c_void_p),
                ("vectors", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
                ("flags", ctypes.c_int)]


class Message(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = [("header", Header), ("sent", ctypes.c_uint)]


class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


BURST = 32
libc = ctypes.CDLL(None, use_errno=True)


class Stream:
    """Packets of one length, and their socket, which is connected."""

    def __init__(self, socket, packets):
        self.socket, self.length, self.count = socket, len(packets[0]), len(packets)
        self.data = ctypes.create_string_buffer(b"".join(packets))
        self.vectors, self.messages = (Vector * BURST)(), (Message * BURST)()
        for vector, message in zip(self.vectors, self.messages):
            vector.length, message.header.vector, message.header.vectors = self.length, ctypes.addressof(vector), 1

    def send(self, first, count):
        for i in range(count):
            self.vectors[i].base = ctypes.addressof(self.data) + (first + i) * self.length
        sent = libc.sendmmsg(self.socket.fileno(), self.messages, count, 0)
        if sent != count:
            raise Exception("of %d packets %d were sent: errno %d" % (count, sent, ctypes.get_errno()))


def send(times, rate, *streams):
    """Waits for a line, then sends the packets, each `times` times, in bursts of one stream after the other."""
    rate = int(rate)
    size = min(BURST, max(1, rate // 2500)) if rate else BURST
    print("ready", flush=True)
    sys.stdin.readline()
    sent, begin = 0, time.perf_counter()
    for first in range(0, streams[0].count, size):
        for stream in streams:
            count = min(size, stream.count - first)
            for _ in range(times):
                stream.send(first, count)
            sent += count * times
            ahead = sent / rate - (time.perf_counter() - begin) if rate else 0
            if ahead > 0:
                time.sleep(ahead)
    print("sent %d %.1f" % (sent, time.perf_counter() - begin), flush=True)


def raw(protocol, host):
    opened = socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol)
    opened.connect((host, 0))
    return opened


def own_address(host):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))
        return probe.getsockname()[0]


def address(i):
    return socket.inet_aton("100.%d.%d.%d" % (64 + (i >> 16), i >> 8 & 255, i & 255))


def segment(source, target, sport, dport):
    tcp = struct.pack("!HHIIBBHHH", sport, dport, random.getrandbits(32), 0, 0x50, 2, 65535, 0, 0)
    sum_ = checksum(source + target + struct.pack("!HH", 6, len(tcp)) + tcp)
    return tcp[:16] + struct.pack("!H", sum_) + tcp[18:]


def header(source, target, protocol, length, i, offset=0):
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, i & 0xFFFF, offset, 64, protocol, 0) + source + target


def udp(host, flows, rate=0):
    packets = [struct.pack("!HHHH", 1024 + flow % 64512, 20000 + flow // 64512, 16, 0) + b"datagram" for flow in range(int(flows))]
    send(2, rate, Stream(raw(socket.IPPROTO_UDP, host), packets))


def connect_flood(ends, count, rate=0):
    targets = [(host, int(port)) for host, port in (end.split(":") for end in ends.split(","))]
    source = socket.inet_aton(own_address(targets[0][0]))

    def stream(host, port):
        packets = [segment(source, socket.inet_aton(host), 1024 + i % 64512, port) for i in range(int(count) // len(targets))]
        return Stream(raw(socket.IPPROTO_TCP, host), packets)

    send(1, rate, *[stream(*target) for target in targets])


def with_headers(host, packets, rate):
    send(1, rate, headed(host, packets))


def headed(host, packets):
    return Stream(raw(socket.IPPROTO_RAW, host), list(packets))


def syn(host, port, count, rate=0):
    target = socket.inet_aton(host)

    def packet(i):
        tcp = segment(address(i), target, 1024 + i % 60000, int(port))
        return header(address(i), target, 6, len(tcp), i) + tcp

    with_headers(host, map(packet, range(int(count))), rate)


def claims(host, port, count, rate=0):
    target = socket.inet_aton(host)

    def packet(i):
        datagram = struct.pack("!HHHH", 1024 + i % 60000, int(port), 16, 0) + b"datagram"
        return header(address(i), target, 17, len(datagram), i) + datagram

    with_headers(host, map(packet, range(int(count))), rate)


def fragments(hosts, port, count, rate=0, source=None):
    hosts = hosts.split(",")
    firsts, source = not source, source or socket.inet_aton(own_address(hosts[0]))
    first = struct.pack("!HHHH", 1024, int(port), 2000, 0) + b"x" * 1000

    def packet(i, target):
        more, offset = (0x2000, 0) if firsts and i % 2 else (0, 126)
        return header(source, target, 17, len(first), random.getrandbits(16), more | offset) + first

    def stream(host):
        return headed(host, [packet(i, socket.inet_aton(host)) for i in range(int(count) // len(hosts))])

    send(1, rate, *map(stream, hosts))


# Not from the own address: who shares both addresses with a datagram can spoil it (RFC 4963), and a neighbour's come from there.
def later(host, port, count, rate=0):
    fragments(host, port, count, rate, address(1))


def echo(port):
    listener = socket.create_server(("", int(port)), backlog=128)
    sockets = [listener, socket.socket(socket.AF_INET, socket.SOCK_DGRAM), sys.stdin]
    sockets[1].bind(("", int(port)))
    print("ready", flush=True)
    while True:
        ready = select.select(sockets, [], [])[0]
        if listener in ready:
            listener.accept()[0].close()
        if sockets[1] in ready:
            sockets[1].sendto(*sockets[1].recvfrom(2048))
        if sys.stdin in ready:
            break


def main(what, *args):
    if what == "hold":
        hold(int(args[0]), int(args[1]), *args[2:])
    else:
        {"udp": udp, "connect": connect_flood, "syn": syn, "claims": claims, "fragments": fragments, "later": later, "echo": echo}[what](*args)


main(*sys.argv[1:])
