/** A TCP relay in front of a server, for what a network does to connections. */

export class Relay implements AsyncDisposable {
  private readonly pairs = new Set<{ ends: Deno.Conn[]; frozen: boolean }>();
  private gate: PromiseWithResolvers<void> | undefined;

  private constructor(private readonly listener: Deno.Listener, public target: number) {}

  static start(target: number): Promise<Relay> {
    const relay = new Relay(Deno.listen({ hostname: "127.0.0.1", port: 0 }), target);
    relay.accept();
    return Promise.resolve(relay);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.listener.addr as Deno.NetAddr).port}`;
  }

  /** New connections are taken and get no answer, until release(). */
  hold() {
    this.gate ??= Promise.withResolvers();
  }

  release() {
    this.gate?.resolve();
    this.gate = undefined;
  }

  /** All connections there are end. */
  cut(): Promise<void> {
    for (const pair of this.pairs) this.end(pair);
    return Promise.resolve();
  }

  /** Nothing comes through the connections there are, without a reset. */
  freeze() {
    for (const pair of this.pairs) pair.frozen = true;
  }

  private async accept() {
    for await (const client of this.listener) this.serve(client).catch(() => {});
  }

  private async serve(client: Deno.Conn) {
    const pair = { ends: [client], frozen: false };
    this.pairs.add(pair);
    await this.gate?.promise;
    if (!this.pairs.has(pair)) return;
    const server = await Deno.connect({ hostname: "127.0.0.1", port: this.target });
    pair.ends.push(server);
    const copy = async (from: Deno.Conn, to: Deno.Conn) => {
      const buffer = new Uint8Array(65536);
      for (;;) {
        const size = await from.read(buffer);
        if (pair.frozen) continue;
        if (size === null) return this.end(pair);
        for (let at = 0; at < size;) at += await to.write(buffer.subarray(at, size));
      }
    };
    const both = [copy(client, server), copy(server, client)];
    await Promise.all(both.map((one) => one.catch(() => this.end(pair))));
  }

  private end(pair: { ends: Deno.Conn[]; frozen: boolean }) {
    if (!this.pairs.delete(pair)) return;
    for (const conn of pair.ends) {
      try {
        conn.close();
      } catch {
        // It was closed by its other end.
      }
    }
  }

  async [Symbol.asyncDispose]() {
    this.release();
    this.listener.close();
    await this.cut();
  }
}
