/**
 * IPv4 sockets for probes, straight from the kernel: Deno's own do not tell a UDP port unreachable and hide the
 * error's number. All sockets are non-blocking, close-on-exec and connected.
 */
import { closeFd, SyscallError, trySyscall } from "../linux/libc.ts";
import { POLLIN, pollInThread, pollNow, POLLOUT } from "../linux/poll.ts";
import { AF_INET, sockaddr } from "../linux/sockaddr.ts";

const FLAGS = 0o2000000 | 0o4000; // SOCK_CLOEXEC | SOCK_NONBLOCK

/** Type and protocol for socket(2). */
const TYPES = { tcp: [1, 6], udp: [2, 17] } as const;

/** The transport protocol. */
export type SocketKind = keyof typeof TYPES;

const EINPROGRESS = 115;
const EAGAIN = 11;

/** A wait this short happens on the spot: a thread pool would add its own 0.1 ms to every latency. */
const SPIN_MS = 5;

/** No answer within the time that was given. */
export class TimeoutError extends Error {
  override readonly name = "TimeoutError";
}

/** One connected socket. Times are in milliseconds; `deadline` is a value of performance.now(). */
export class ProbeSocket {
  readonly #fd: number;
  readonly #kind: SocketKind;
  #sentAt = 0;
  /** From the last send to the last receive, in milliseconds. */
  roundTripMs = 0;

  private constructor(fd: number, kind: SocketKind) {
    this.#fd = fd;
    this.#kind = kind;
  }

  /**
   * Opens a socket and connects it; TCP waits for the handshake.
   *
   * @throws SyscallError, e.g. ECONNREFUSED, ENETUNREACH; TimeoutError.
   */
  static async connect(kind: SocketKind, address: string, port: number, deadline: number) {
    const [type, protocol] = TYPES[kind];
    const fd = must("socket", trySyscall("socket", AF_INET, type | FLAGS, protocol));
    const socket = new ProbeSocket(fd, kind);
    try {
      const to = sockaddr(address, port);
      const begun = trySyscall("connect", fd, to, to.length);
      if (begun === -EINPROGRESS) {
        if (!isReady(fd, POLLOUT, deadline)) await wait(fd, POLLOUT, deadline);
        must("connect", trySyscall("connect", fd, to, to.length));
      } else must("connect", begun);
      return socket;
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  /** The address and port this socket sends from, e.g. `10.244.1.2:40000`. */
  get local(): string {
    const buffer = new Uint8Array(16);
    must("getsockname", trySyscall("getsockname", this.#fd, buffer, new Uint8Array([16, 0, 0, 0])));
    return `${buffer.slice(4, 8).join(".")}:${(buffer[2]! << 8) | buffer[3]!}`;
  }

  /** @throws SyscallError, also for an ICMP error that came for an earlier packet. */
  send(data: Uint8Array<ArrayBuffer>): void {
    this.#sentAt = performance.now();
    must("send", trySyscall("sendto", this.#fd, data, data.length, 0x4000 /* NOSIGNAL */));
  }

  /**
   * The next datagram, or the next bytes of the stream; empty at its end. An answer that comes soon is taken before anything else of this process gets its turn.
   *
   * @throws SyscallError, e.g. ECONNREFUSED after a port unreachable; TimeoutError.
   */
  async receive(deadline: number): Promise<Uint8Array> {
    const buffer = new Uint8Array(65536);
    while (true) {
      if (!isReady(this.#fd, POLLIN, deadline)) await wait(this.#fd, POLLIN, deadline);
      const count = trySyscall("recvfrom", this.#fd, buffer, buffer.length);
      this.roundTripMs = performance.now() - this.#sentAt;
      if (count !== -EAGAIN) return buffer.subarray(0, must(`recv (${this.#kind})`, count));
    }
  }

  close(): void {
    closeFd(this.#fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function must(call: string, result: number): number {
  if (result < 0) throw new SyscallError(call, -result);
  return result;
}

function isReady(fd: number, events: number, deadline: number): boolean {
  return pollNow(fd, events, Math.min(deadline - performance.now(), SPIN_MS));
}

async function wait(fd: number, events: number, deadline: number): Promise<void> {
  const rest = deadline - performance.now();
  if (rest > 0 && await pollInThread(fd, rest, events)) return;
  throw new TimeoutError("no answer");
}
