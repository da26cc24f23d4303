"""A link without Ethernet header between two network namespaces: a TUN device in each, named alike.

    tun_link.py DEVICE NETNS ADDRESS/LEN NETNS ADDRESS/LEN

Writes "ready" when both are up; ends, and removes them, when standard input ends.
"""
import ctypes
import fcntl
import os
import select
import struct
import subprocess
import sys

TUNSETIFF, IFF_TUN, IFF_NO_PI, CLONE_NEWNET = 0x400454CA, 0x1, 0x1000, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def open_tun(device, netns, address):
    with open(netns) as namespace:
        if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), netns)
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", device.encode(), IFF_TUN | IFF_NO_PI))
    for words in (["address", "add", address, "dev", device], ["link", "set", device, "up"]):
        subprocess.run(["ip", *words], check=True)
    return fd


device, *places = sys.argv[1:]
a, b = open_tun(device, *places[0:2]), open_tun(device, *places[2:4])
print("ready", flush=True)
while True:
    for fd in select.select([a, b, 0], [], [])[0]:
        if fd == 0:
            sys.exit()
        os.write(b if fd == a else a, os.read(fd, 65536))
