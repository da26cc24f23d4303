"""Real traffic for namespace tests: servers, clients and odd frames. Runs inside a namespace and prints JSON.

  serve tcp|udp PORT [COUNT]      prints "ready", then serves until it is killed; UDP on COUNT ports
  tcp ADDR PORT UP DOWN [SPORT]   sends UP bytes, receives DOWN bytes, checks both
  udp ADDR PORT SIZE              sends a datagram, waits for its echo
  pack ADDR PORT SIZE COUNT       sends datagrams in one piece (UDP_SEGMENT), waits for their echoes
  twice ADDR PORT FIRST COUNT     sends a datagram from each of many source ports, from two processes at a time;
                                  fine when both got to the same server
  ping ADDR SIZE                  sends an echo request, waits for the reply
  pmtu ADDR PORT SIZE             sends datagrams with DF until told of a smaller MTU
  datagram ADDR PORT HEX          sends a datagram and waits for nothing
  frames DEVICE HEX...            sends frames as they are
  ring DEVICE HEX                 sends a frame whose headers lie in a page of their own
  txoff DEVICE                    has checksums computed in software on the way out
"""

import ctypes
import errno
import fcntl
import hashlib
import json
import mmap
import os
import select
import selectors
import socket
import struct
import sys
import threading

TIMEOUT = 5.0
HEAD = 32  # bytes that a UDP server puts before what it echoes


def pattern(size):
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def read_exactly(stream, size):
    digest = hashlib.sha256()
    while size > 0:
        part = stream.read(min(size, 1 << 18))
        if not part:
            raise EOFError
        digest.update(part)
        size -= len(part)
    return digest.hexdigest()


def serve_tcp(port):
    def answer(connection, peer):
        with connection, connection.makefile("rwb") as stream:
            up, down = map(int, stream.readline().split())
            digest = read_exactly(stream, up)
            stream.write(json.dumps({"peer": "%s:%d" % peer, "digest": digest}).encode() + b"\n")
            stream.write(pattern(down))

    server = socket.create_server(("0.0.0.0", port), backlog=128)
    print("ready", flush=True)
    while True:
        threading.Thread(target=answer, args=server.accept(), daemon=True).start()


def serve_udp(port, count=1):
    """The answer begins with the client's address, and the server's port."""
    servers = selectors.DefaultSelector()
    for number in range(port, port + count):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("0.0.0.0", number))
        servers.register(server, selectors.EVENT_READ, number)
    print("ready", flush=True)
    while True:
        for key, _ in servers.select():
            data, peer = key.fileobj.recvfrom(65536)
            head = "%s:%d %d" % (*peer, key.data)
            key.fileobj.sendto(head.ljust(HEAD).encode() + data, peer)


def tcp(addr, port, up, down, sport=0):
    client = socket.socket()
    client.settimeout(TIMEOUT)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.bind(("", sport))
    client.connect((addr, port))
    with client, client.makefile("rwb") as stream:
        data = pattern(up)
        stream.write(b"%d %d\n" % (up, down) + data)
        stream.flush()
        result = json.loads(stream.readline())
        ok = result["digest"] == hashlib.sha256(data).hexdigest()
        ok = ok and read_exactly(stream, down) == hashlib.sha256(pattern(down)).hexdigest()
        return {"ok": ok, "peer": result["peer"], "local": "%s:%d" % client.getsockname()}


def udp(addr, port, size):
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(TIMEOUT)
    client.connect((addr, port))
    client.send(pattern(size))
    data = client.recv(65536)
    local = "%s:%d" % client.getsockname()
    return {"ok": data[HEAD:] == pattern(size), "peer": data[:HEAD].decode().split()[0], "local": local}


def pack(addr, port, size, count):
    UDP_SEGMENT = 103
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
    client.settimeout(TIMEOUT)
    client.connect((addr, port))
    data = b"".join(bytes([i]) * size for i in range(count))
    client.send(data)
    return {"ok": b"".join(client.recv(65536)[HEAD:] for _ in range(count)) == data}


def twice(addr, port, first, count):
    clients = []
    for sport in range(first, first + count):
        pair = []
        for _ in range(2):
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            client.bind(("", sport))
            client.connect((addr, port))
            pair.append(client)
        clients.append(pair)
    counter = mmap.mmap(-1, 8)  # how far each of the two is: they keep in step
    child = os.fork()
    me = 1 if child else 0
    for i, pair in enumerate(clients):
        counter[4 * me : 4 * me + 4] = struct.pack("I", i + 1)
        while struct.unpack_from("I", counter, 4 * (1 - me))[0] < i + 1:
            pass
        pair[me].send(b"x")
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    apart = 0
    for pair in clients:
        servers = set()
        for _ in pair:
            ready, _, _ = select.select(pair, [], [], TIMEOUT)
            if not ready:
                raise socket.timeout
            servers.add(ready[0].recv(65536)[:HEAD].split()[1])
        apart += len(servers) > 1
    return {"ok": apart == 0, "error": "%d flows" % apart if apart else None}


def ping(addr, size):
    def checksum(data):
        total = sum(struct.unpack("!%dH" % (len(data) // 2), data[: len(data) // 2 * 2]))
        total += data[-1] << 8 if len(data) % 2 else 0
        while total > 0xFFFF:
            total = (total & 0xFFFF) + (total >> 16)
        return ~total & 0xFFFF

    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    raw.settimeout(TIMEOUT)
    data = struct.pack("!HH", os.getpid() & 0xFFFF, 1) + pattern(size)
    sum_ = checksum(b"\x08\0\0\0" + data)
    raw.sendto(b"\x08\0" + struct.pack("!H", sum_) + data, (addr, 0))
    while True:
        packet, (source, _) = raw.recvfrom(65536)
        message = packet[(packet[0] & 15) * 4 :]
        if message[0] == 0 and message[4:8] == data[:4]:
            ok = message[4:] == data and checksum(message) == 0 and source == addr
            return {"ok": ok, "peer": source}


def pmtu(addr, port, size):
    IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_MTU = 10, 2, 14
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
    client.settimeout(TIMEOUT)
    client.connect((addr, port))
    client.send(pattern(size))
    try:
        client.recv(65536)
    except OSError as error:
        if error.errno != errno.EMSGSIZE:
            raise
    return {"ok": True, "mtu": client.getsockopt(socket.IPPROTO_IP, IP_MTU)}


def datagram(addr, port, text):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(bytes.fromhex(text), (addr, port))
    return {"ok": True}


def frames(device, *texts):
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    raw.bind((device, 0))
    for text in texts:
        raw.send(bytes.fromhex(text))
    return {"ok": True}


def ring(device, text):
    """PACKET_TX_RING: the kernel copies the Ethernet header and takes the rest as pages."""
    SOL_PACKET, PACKET_TX_RING, SEND_REQUEST, HEADER = 263, 13, 1, 32
    frame = bytes.fromhex(text)
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    raw.setsockopt(SOL_PACKET, PACKET_TX_RING, struct.pack("IIII", 4096, 1, 4096, 1))
    raw.bind((device, 0x0800))
    with mmap.mmap(raw.fileno(), 4096) as slot:
        slot[HEADER : HEADER + len(frame)] = frame
        slot[8:16] = struct.pack("II", len(frame), len(frame))
        slot[0:8] = struct.pack("L", SEND_REQUEST)
        sent = raw.send(b"")
    return {"ok": sent == len(frame)}


def txoff(device):
    SIOCETHTOOL, ETHTOOL_STXCSUM = 0x8946, 0x17
    value = ctypes.create_string_buffer(struct.pack("II", ETHTOOL_STXCSUM, 0))
    request = struct.pack("16sP16x", device.encode(), ctypes.addressof(value))
    fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), SIOCETHTOOL, request)
    return {"ok": True}


def main(command, *args):
    args = [int(arg) if arg.isdecimal() and len(arg) < 12 else arg for arg in args]
    if command == "serve":
        return {"tcp": serve_tcp, "udp": serve_udp}[args[0]](*args[1:])
    try:
        result = globals()[command](*args)
    except socket.timeout:
        result = {"ok": False, "error": "TIMEOUT"}
    except OSError as error:
        result = {"ok": False, "error": errno.errorcode.get(error.errno, str(error))}
    print(json.dumps(result))


main(*sys.argv[1:])
