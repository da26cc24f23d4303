"""Sockets for namespace tests.

  serve NAME PORT    TCP and UDP; answers with NAME, the client's address and what it sent; prints "ready"
  drive              a call a line on standard input: [function, argument...], a result a line: {"ok": value} or
                     {"error": "ECONNREFUSED"}; sockets go by numbers
"""

import errno
import json
import socket
import sys
import threading

TIMEOUT = 5.0
FAMILIES = {"4": socket.AF_INET, "6": socket.AF_INET6}
TYPES = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


def text(address):
    return "%s:%d" % address[:2]


def serve(name, port):
    def answer(connection, peer):
        with connection:
            while data := connection.recv(4096):
                connection.sendall(b"%s %s %s" % (name, text(peer).encode(), data))

    def accept():
        while True:
            threading.Thread(target=answer, args=listener.accept(), daemon=True).start()

    listener = socket.create_server(("0.0.0.0", port), backlog=128)
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("0.0.0.0", port))
    threading.Thread(target=accept, daemon=True).start()
    print("ready", flush=True)
    while True:
        data, peer = datagrams.recvfrom(4096)
        datagrams.sendto(b"%s %s %s" % (name, text(peer).encode(), data), peer)


sockets = []


def open_(kind):
    made = socket.socket(FAMILIES[kind[3]], TYPES[kind[:3]])
    made.settimeout(TIMEOUT)
    sockets.append(made)
    return len(sockets) - 1


def connects(address, port, seconds):
    """Connects and exchanges a word until told otherwise; how often, and what went wrong."""
    done = threading.Event()
    threading.Timer(seconds, done.set).start()
    good, errors = 0, []
    while not done.is_set():
        try:
            with socket.create_connection((address, port), TIMEOUT) as connection:
                connection.sendall(b"x")
                if not connection.recv(64):
                    raise EOFError
            good += 1
        except Exception as error:
            errors.append(str(error))
    return {"good": good, "errors": errors[:5]}


CALLS = {
    "open": open_,
    "bind": lambda s, address, port: sockets[s].bind((address, port)),
    "device": lambda s, name: sockets[s].setsockopt(
        socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.encode()
    ),
    "connect": lambda s, address, port: sockets[s].connect((address, port)),
    "send": lambda s, data: sockets[s].send(data.encode()),
    "sendto": lambda s, data, address, port: sockets[s].sendto(data.encode(), (address, port)),
    "recv": lambda s: receive(*sockets[s].recvfrom(4096)),
    "peer": lambda s: text(sockets[s].getpeername()),
    "local": lambda s: text(sockets[s].getsockname()),
    "close": lambda s: sockets[s].close(),
    "connects": connects,
}


def receive(data, address):
    return {"data": data.decode(), "from": text(address) if address else None}


def drive():
    for line in sys.stdin:
        function, *args = json.loads(line)
        try:
            result = {"ok": CALLS[function](*args)}
        except OSError as error:
            result = {"error": errno.errorcode.get(error.errno, str(error))}
        print(json.dumps(result), flush=True)


if sys.argv[1] == "serve":
    serve(sys.argv[2].encode(), int(sys.argv[3]))
else:
    drive()
