"""Connections, and segments that another machine forges of them.

  forge.py hold IDLE BUSY HOST PORT     opens connections to a line echo server, of which BUSY talk all the time; says `ready`;
                                        when standard input ends, uses each once more, resets the first one, closes the
                                        second, and says as JSON how many were lost; ends without closing the others
  forge.py forge SOURCE HOST PORT COUNT CLIENT:SEQ…
                                        segments with another machine's address and ports, that reset, end, open or
                                        continue its connections; of those with the number that is expected, the
                                        checksum is wrong
  forge.py serve PORT                   answers datagrams and connections; says `ready`; ends with standard input
  forge.py open HOST PORT FIRST COUNT   asks from COUNT source ports from FIRST on, by UDP, then by TCP; says as JSON how
                                        many were answered
"""
import json
import random
import socket
import struct
import sys
import threading

FIN, SYN, RST, ACK = 1, 2, 4, 16
KINDS = [RST, SYN, RST | ACK, FIN | ACK, SYN | RST, SYN | FIN, ACK]


def ask(connection, number):
    line = b"line %d\n" % number
    connection.sendall(line)
    answer = b""
    while not answer.endswith(line):
        part = connection.recv(4096)
        if not part:
            raise OSError("closed")
        answer += part


def hold(idle, busy, host, port):
    connections, lost, stop, asked = [], set(), threading.Event(), [0]
    for i in range(idle + busy):
        connections.append(socket.create_connection((host, port), timeout=30))
        ask(connections[i], i)

    def use(numbers):
        for i in numbers:
            try:
                ask(connections[i], i)
                asked[0] += 1
            except OSError as error:
                lost.add((i, str(error)))

    def talk():
        while not stop.is_set():
            use(set(range(busy)) - {i for i, _ in lost})

    talker = threading.Thread(target=talk)
    talker.start()
    print("ready", flush=True)
    sys.stdin.read()
    stop.set()
    talker.join()
    use(range(len(connections)))
    ports = [connection.getsockname()[1] for connection in connections[:2]]
    connections[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    for connection in connections[:2]:
        connection.close()
    print(json.dumps({"lost": sorted(lost), "asked": asked[0], "ports": ports}), flush=True)


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def segment(source, host, sport, port, seq, flags, right):
    ends = socket.inet_aton(source) + socket.inet_aton(host)
    payload = b"forged" if flags == ACK else b""
    tcp = struct.pack("!HHIIBBHHH", sport, port, seq, random.getrandbits(32), 0x50, flags, 65535, 0, 0) + payload
    sum_ = checksum(ends + struct.pack("!HH", 6, len(tcp)) + tcp) ^ (0 if right else 0x1111)
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0) + ends
    return ip + tcp[:16] + struct.pack("!H", sum_) + tcp[18:]


def forge(source, host, port, count, *clients):
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    ends = [tuple(map(int, client.split(":"))) for client in clients]
    for i in range(count):
        sport, expected = ends[i % len(ends)]
        turn = i // len(ends)
        exact = turn % 3 == 0
        seq = expected if exact else random.getrandbits(32)
        packet = segment(source, host, sport, port, seq, KINDS[turn % len(KINDS)], not exact)
        try:
            raw.sendto(packet, (host, 0))
        except OSError:  # a queue is full
            pass
    print("sent", flush=True)


def serve(port):
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("", port))
    listener = socket.create_server(("", port), backlog=512)

    def answer():
        while True:
            data, client = datagrams.recvfrom(99)
            datagrams.sendto(data, client)

    def accept():
        while True:
            listener.accept()[0].sendall(b"x")

    for loop in (answer, accept):
        threading.Thread(target=loop, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


def opened(kind, far, sport):
    try:
        with socket.socket(socket.AF_INET, kind) as own:
            own.settimeout(3)
            own.bind(("", sport))
            own.connect(far)
            if kind == socket.SOCK_DGRAM:
                own.send(b"q")
            return own.recv(9) != b""
    except OSError:
        return False


def open_flows(host, port, first, count):
    asked = {"udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM}
    print(json.dumps({name: sum(opened(kind, (host, port), first + i) for i in range(count)) for name, kind in asked.items()}))


def main(what, *args):
    if what == "hold":
        hold(int(args[0]), int(args[1]), args[2], int(args[3]))
    elif what == "serve":
        serve(int(args[0]))
    elif what == "open":
        open_flows(args[0], *map(int, args[1:]))
    else:
        forge(args[0], args[1], int(args[2]), int(args[3]), *args[4:])


main(*sys.argv[1:])
