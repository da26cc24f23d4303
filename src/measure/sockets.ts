/**
 * The tool of its own that the benchmark has: a server that takes one connection after the other, and a client that times
 * connect(2). Both are plain blocking calls in a process of their own, since an event loop would cost more than what is measured.
 */
import { closeFd, syscall, SyscallError, trySyscall } from "../linux/libc.ts";
import { AF_INET, sockaddr } from "../linux/sockaddr.ts";

const SOCK_STREAM = 1, SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1, SO_REUSEADDR = 2, SO_LINGER = 13, SO_RCVTIMEO = 20, SO_SNDTIMEO = 21;
const BACKLOG = 4096;
const TIMEOUT_SECONDS = 2;

const ANSWER = new TextEncoder().encode(
  "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n.",
);

/**
 * Answers on all addresses until the process ends: a request of HTTP gets one byte, and then the client is to close.
 * @throws {SyscallError} EADDRINUSE when the port is taken
 */
export function serveConnections(port: number): never {
  const fd = tcpSocket();
  setOption(fd, SO_REUSEADDR, new Int32Array([1]));
  syscall("bind", fd, sockaddr("0.0.0.0", port), 16);
  syscall("listen", fd, BACKLOG);
  const request = new Uint8Array(4096);
  while (true) {
    const connection = trySyscall("accept4", fd, null, null, SOCK_CLOEXEC);
    if (connection < 0) continue; // the client was gone before it was accepted
    // A silent client must not stop the others for good.
    setTimeouts(connection);
    if (trySyscall("read", connection, request, request.length) > 0) {
      trySyscall("write", connection, ANSWER, ANSWER.length);
      // The client closes first and keeps the TIME-WAIT: here it would meet the same client's port by another path, whose TCP
      // timestamps are not in order with it (RFC 7323), and a connection would take a second.
      trySyscall("read", connection, request, request.length);
    }
    closeFd(connection);
  }
}

/**
 * Connects `count` times, one after the other, and returns how long each took, in seconds. Connections are reset, so that none
 * stays behind.
 * @throws {SyscallError} of the first that fails
 */
export function timeConnects(address: string, port: number, count: number): number[] {
  const to = sockaddr(address, port);
  return Array.from({ length: count }, () => {
    const fd = tcpSocket();
    try {
      setTimeouts(fd);
      setOption(fd, SO_LINGER, new Int32Array([1, 0]));
      const start = performance.now();
      const result = trySyscall("connect", fd, to, to.length);
      const took = performance.now() - start;
      if (result < 0) throw new SyscallError(`connect to ${address}:${port}`, -result);
      return took / 1000;
    } finally {
      closeFd(fd);
    }
  });
}

function tcpSocket(): number {
  return syscall("socket", AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

function setTimeouts(fd: number): void {
  const time = new BigInt64Array([BigInt(TIMEOUT_SECONDS), 0n]);
  for (const option of [SO_RCVTIMEO, SO_SNDTIMEO]) setOption(fd, option, time);
}

function setOption(fd: number, option: number, value: Int32Array | BigInt64Array): void {
  const bytes = new Uint8Array(value.buffer as ArrayBuffer);
  syscall("setsockopt", fd, SOL_SOCKET, option, bytes, bytes.length);
}
