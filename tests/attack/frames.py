"""Raw frames, as root in a pod can send them, and what is heard of them.

  frames.py send DEVICE               a line of hex is a frame; says `sent N` at the end of standard input. After
                                      `START:OFFSET:` one whose checksum is left to the device (CHECKSUM_PARTIAL)
  frames.py noise DEVICE COUNT SEED   frames that are half right: a random change of a right one, or nothing but noise;
                                      a right one, as hex, is the first line of standard input
  frames.py hear DEVICE MARK          says `listening`, then each frame that holds MARK (hex) and came in, as hex
"""
import random
import socket
import struct
import sys

ETH_P_ALL = 3
PACKET_OUTGOING = 4
SOL_PACKET, PACKET_VNET_HDR = 263, 15
NEEDS_CSUM = 1  # of struct virtio_net_hdr


def device(name, header=0):
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    raw.setsockopt(SOL_PACKET, PACKET_VNET_HDR, header)
    if name:
        raw.bind((name, 0))
    return raw


def send(name):
    raw, partial = device(name), device(name, 1)
    sent = 0
    for line in sys.stdin:
        *csum, frame = line.split(":")
        if csum:
            header = struct.pack("<BBHHHH", NEEDS_CSUM, 0, 0, 0, *map(int, csum))
            partial.send(header + bytes.fromhex(frame))
        else:
            raw.send(bytes.fromhex(frame))
        sent += 1
    print("sent %d" % sent)


def changed(frame, chance):
    """A frame with a few bytes changed, in its headers mostly, cut or made longer."""
    frame = bytearray(frame)
    for _ in range(chance.randint(1, 6)):
        at = min(int(chance.expovariate(1 / 24)), len(frame) - 1)
        frame[at] = chance.getrandbits(8)
    if chance.random() < 0.2:
        frame = frame[: chance.randint(14, len(frame))]
    if chance.random() < 0.2:
        frame += chance.randbytes(chance.randint(1, 1400 - len(frame)))
    return frame


def noise(name, count, seed):
    chance = random.Random(seed)
    right = [bytes.fromhex(line) for line in sys.stdin]
    raw = device(name)
    for i in range(count):
        frame = changed(chance.choice(right), chance) if i % 8 else chance.randbytes(chance.randint(14, 1400))
        raw.send(frame)
    print("sent %d" % count)


def hear(name, mark):
    raw = device(name)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
    print("listening", flush=True)
    while True:
        frame, (_, _, kind, _, _) = raw.recvfrom(65536)
        if kind != PACKET_OUTGOING and mark in frame:
            print(frame.hex(), flush=True)


if __name__ == "__main__":
    command, name, *rest = sys.argv[1:]
    if command == "send":
        send(name)
    elif command == "noise":
        noise(name, int(rest[0]), int(rest[1]))
    else:
        hear(name, bytes.fromhex(rest[0]))
