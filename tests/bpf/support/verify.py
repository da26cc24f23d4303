"""Checks every packet of a pcap file with scapy: lengths and checksums of IP, TCP, UDP and ICMP, and of the IP header that
an ICMP error quotes. Prints a line for each that is wrong; the last line is the count of packets.

Fragments are checked at the IP level only; their datagrams are put together by the tests.
"""

import sys

from scapy.all import IP, TCP, UDP, ICMP, Raw, Ether, PcapReader, checksum, in4_chksum


def ip_header_ok(data):
    return checksum(data[: (data[0] & 15) * 4]) == 0


def problems(frame):
    if IP not in frame:
        return
    ip = frame[IP]
    data = bytes(ip)[: ip.len]
    header = ip.ihl * 4
    if len(bytes(frame)) < 14 + ip.len:
        yield "IP length"
    if not ip_header_ok(data):
        yield "IP checksum"
    if ip.frag or ip.flags.MF:
        return
    body = data[header:]
    if ip.proto == 6 and len(body) >= 20 and in4_chksum(6, ip, body) != 0:
        yield "TCP checksum"
    if ip.proto == 17 and len(body) >= 8:
        if int.from_bytes(body[4:6], "big") != len(body):
            yield "UDP length"
        if body[6:8] != b"\0\0" and in4_chksum(17, ip, body) not in (0, 0xFFFF):
            yield "UDP checksum"
    if ip.proto == 1 and len(body) >= 8:
        if checksum(body) != 0:
            yield "ICMP checksum"
        if body[0] in (3, 4, 11, 12) and len(body) >= 28 and not ip_header_ok(body[8:]):
            yield "quoted IP checksum"


count = 0
for count, frame in enumerate(PcapReader(sys.argv[1]), 1):
    for problem in problems(frame):
        print(f"packet {count}: {problem}: {frame.summary()}")
print(count)
