/** A TCP relay in front of a server: connections through it can be cut, turned deaf, or refused. */

export class Relay implements AsyncDisposable {
  private readonly connections = new Set<Pair>();
  private listener: Deno.TcpListener;
  private running: Promise<void>;
  readonly port: number;

  constructor(private readonly to: { hostname: string; port: number }) {
    this.listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.port = this.listener.addr.port;
    this.running = this.accept(this.listener);
  }

  /** Ends all connections. */
  cut() {
    for (const pair of this.connections) pair.close();
  }

  /** Connections that are there stay open, and nothing comes from the server any more. */
  deafen() {
    for (const pair of this.connections) pair.deaf = true;
  }

  /** No listener. */
  async close() {
    this.listener.close();
    this.cut();
    await this.running;
  }

  /** At the port it had before. */
  open() {
    this.listener = Deno.listen({ hostname: "127.0.0.1", port: this.port });
    this.running = this.accept(this.listener);
  }

  async [Symbol.asyncDispose]() {
    try {
      await this.close();
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error; // it was closed
    }
  }

  private async accept(listener: Deno.TcpListener) {
    const work: Promise<void>[] = [];
    for await (const near of listener) work.push(this.serve(near));
    await Promise.all(work);
  }

  private async serve(near: Deno.TcpConn) {
    let far: Deno.TcpConn;
    try {
      far = await Deno.connect(this.to);
    } catch {
      return near.close();
    }
    const pair = new Pair(near, far);
    this.connections.add(pair);
    await Promise.all([pair.copy(near, far), pair.copy(far, near, true)]);
    this.connections.delete(pair);
  }
}

class Pair {
  deaf = false;

  constructor(private readonly near: Deno.TcpConn, private readonly far: Deno.TcpConn) {}

  close() {
    for (const one of [this.near, this.far]) {
      try {
        one.close();
      } catch {
        // The other direction was quicker.
      }
    }
  }

  /** Copies until either end is closed. */
  async copy(from: Deno.TcpConn, to: Deno.TcpConn, fromServer = false) {
    const buffer = new Uint8Array(65536);
    try {
      for (;;) {
        const count = await from.read(buffer);
        if (count === null) break;
        if (fromServer && this.deaf) continue;
        for (let done = 0; done < count;) done += await to.write(buffer.subarray(done, count));
      }
    } catch {
      // Closed while it was read or written.
    }
    this.close();
  }
}
