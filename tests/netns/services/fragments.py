"""Datagrams in 2, 3 and 4 fragments, in every order, all of one identification.

    fragments.py ask ADDRESS PORT      to a server that echoes; writes how many were answered
    fragments.py await ADDRESS PORT    asks once, whole; writes "IP PORT", as which the server saw it, then how many of
                                       `answer` came back
    fragments.py answer PORT IP PORT   from this machine's PORT to IP PORT
    fragments.py flood ADDRESS COUNT   so many fragments that are not the first of their datagrams

The machine is a namespace with one address beside the loopback's.
"""
import itertools
import socket
import struct
import sys
import time

PIECE = 512
ORDERS = [order for n in (2, 3, 4) for order in itertools.permutations(range(n))]
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) & ~1]))
    total += data[-1] << 8 if len(data) & 1 else 0
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def send_piece(src, dst, ident, at, more, piece):
    word = at // 8 | (0x2000 if more else 0)
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(piece), ident, word, 64, 17, 0, src, dst)
    raw.sendto(header + piece, (socket.inet_ntoa(dst), 0))


def send(source, target, payload, order):
    src, dst = socket.inet_aton(source[0]), socket.inet_aton(target[0])
    length = 8 + len(payload)
    pseudo = src + dst + struct.pack("!BBH", 0, 17, length)
    ports = struct.pack("!HHH", source[1], target[1], length)
    udp = ports + struct.pack("!H", checksum(pseudo + ports + b"\0\0" + payload) or 0xFFFF) + payload
    for i in order:
        send_piece(src, dst, 1, i * PIECE, i < len(order) - 1, udp[i * PIECE : (i + 1) * PIECE])


def payload_of(order):
    text = "-".join(map(str, order)) + ":"
    return text.encode().ljust(len(order) * PIECE - 8 - 100, b"x")


def client(address, port):
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.connect((address, port))
    udp.settimeout(3)
    return udp


def receive(udp):
    try:
        return udp.recv(65536)
    except socket.timeout:
        return b""


mode, *args = sys.argv[1:]
if mode == "ask":
    server = (args[0], int(args[1]))
    udp = client(*server)
    answered = []
    for order in ORDERS:
        send(udp.getsockname(), server, payload_of(order), order)
        if receive(udp).endswith(payload_of(order)):
            answered.append(order)
    print(len(answered), "of", len(ORDERS))
elif mode == "await":
    udp = client(args[0], int(args[1]))
    udp.send(b"hello")
    _, seen, _ = receive(udp).split(b" ", 2)
    print(seen.decode().replace(":", " "), flush=True)
    sys.stdin.readline()
    wanted = {payload_of(order) for order in ORDERS}
    while wanted and (got := receive(udp)):
        wanted.discard(got)
    print(len(ORDERS) - len(wanted), "of", len(ORDERS))
elif mode == "answer":
    target = (args[1], int(args[2]))
    own = client(*target).getsockname()[0]
    for order in ORDERS:
        send((own, int(args[0])), target, payload_of(order), order)
        time.sleep(0.002)
elif mode == "flood":
    own = client(args[0], 1).getsockname()[0]
    src, dst = socket.inet_aton(own), socket.inet_aton(args[0])
    for i in range(int(args[1])):
        send_piece(src, dst, i & 0xFFFF, PIECE, False, b"y" * 64)
