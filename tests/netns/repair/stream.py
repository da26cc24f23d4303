#!/usr/bin/env python3
"""Two hundred numbered datagrams a second to each target, every fourth from a fresh socket; answers may have words before the number.

  stream.py ADDRESS PORT

A line on standard input ends a period: one line of JSON on standard output, {sent, lost, gap_ms: the longest time without an
answer}, a third of a second later, when all answers are there.
"""
import json, select, socket, sys, time

target = (sys.argv[1], int(sys.argv[2]))


def fresh():
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setblocking(False)
    try:
        udp.connect(target)
    except OSError:
        pass
    return udp


kept, others = fresh(), []
number, first, answered, gap, last = 0, 0, set(), 0.0, time.monotonic()
ends = None
due = time.monotonic()
while True:
    sockets = [kept, *others]
    ready, _, _ = select.select([sys.stdin, *sockets], [], [], max(0, due - time.monotonic()))
    now = time.monotonic()
    for one in ready:
        if one is sys.stdin:
            if not sys.stdin.readline():
                sys.exit(0)
            ends = (now + 0.33, number)
            continue
        try:
            answered.add(int(one.recv(200).split()[-1]))
            gap, last = max(gap, now - last), now
        except (OSError, ValueError, IndexError):
            pass  # an ICMP error: the datagram is lost
    if now >= due:
        due = max(due + 0.005, now - 0.1)
        sender = kept
        if number % 4 == 3:
            sender = fresh()
            others.append(sender)
            if len(others) > 100:
                others.pop(0).close()
        try:
            sender.send(b"%d" % number)
        except OSError:
            pass
        number += 1
    if ends and now >= ends[0]:
        count = ends[1] - first
        lost = sum(1 for n in range(first, ends[1]) if n not in answered)
        print(json.dumps({"sent": count, "lost": lost, "gap_ms": round(max(gap, now - last) * 1000)}), flush=True)
        first, gap, last, ends = ends[1], 0.0, time.monotonic(), None
        answered = {n for n in answered if n >= first}
