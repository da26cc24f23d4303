"""Floods of flows, and connections that should live through them.

  session_flood.py hold IDLE BUSY HOST:PORT…   opens connections to line echo servers, of which BUSY talk all the time;
                                               says `ready`; when standard input ends, uses each once more and says as
                                               JSON how many were lost
  session_flood.py udp SOURCE HOST FLOWS       two datagrams for each of so many flows
  session_flood.py syn HOST PORT COUNT         half-open connections from as many addresses
"""
import json
import random
import socket
import struct
import sys
import threading


def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def ask(connection, number):
    line = b"line %d\n" % number
    connection.sendall(line)
    answer = b""
    while not answer.endswith(line):
        part = connection.recv(4096)
        if not part:
            raise OSError("closed")
        answer += part


def hold(idle, busy, *servers):
    ends = [(host, int(port)) for host, port in (server.split(":") for server in servers)]
    connections = []
    for i in range(idle + busy):
        connection = socket.create_connection(ends[i % len(ends)], timeout=30)
        ask(connection, i)
        connections.append(connection)
    lost, stop, asked = set(), threading.Event(), [0]

    def talk():
        alive = set(range(busy))
        while not stop.is_set() and alive:
            for i in list(alive):
                try:
                    ask(connections[i], i)
                    asked[0] += 1
                except OSError as error:
                    lost.add((i, str(error)))
                    alive.discard(i)

    talker = threading.Thread(target=talk)
    talker.start()
    print("ready", flush=True)
    sys.stdin.read()
    stop.set()
    talker.join()
    for i, connection in enumerate(connections):
        try:
            ask(connection, i)
        except OSError as error:
            lost.add((i, str(error)))
    numbers = {i for i, _ in lost}
    report = {"idle": len([i for i in numbers if i >= busy]), "busy": len([i for i in numbers if i < busy]),
              "asked": asked[0], "errors": sorted({text for _, text in lost})}
    print(json.dumps(report), flush=True)


def udp(source, host, flows):
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
    raw.bind((source, 0))
    for flow in range(flows):
        sport, dport = 1024 + flow % 64512, 20000 + flow // 64512
        packet = struct.pack("!HHHH", sport, dport, 16, 0) + b"datagram"
        for _ in range(2):
            try:
                raw.sendto(packet, (host, 0))
            except OSError:  # a queue is full
                pass
    print("sent", flush=True)


def syn(host, port, count):
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    target = socket.inet_aton(host)
    for i in range(count):
        source = socket.inet_aton("100.%d.%d.%d" % (64 + (i >> 16), i >> 8 & 255, i & 255))
        tcp = struct.pack("!HHIIBBHHH", 1024 + i % 60000, port, random.getrandbits(32), 0, 0x50, 2, 65535, 0, 0)
        sum_ = checksum(source + target + struct.pack("!HH", 6, len(tcp)) + tcp)
        tcp = tcp[:16] + struct.pack("!H", sum_) + tcp[18:]
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 40, i & 0xFFFF, 0, 64, 6, 0) + source + target
        try:
            raw.sendto(ip + tcp, (host, 0))
        except OSError:
            pass
    print("sent", flush=True)


def main(what, *args):
    if what == "hold":
        hold(int(args[0]), int(args[1]), *args[2:])
    elif what == "udp":
        udp(args[0], args[1], int(args[2]))
    else:
        syn(args[0], int(args[1]), int(args[2]))


main(*sys.argv[1:])
