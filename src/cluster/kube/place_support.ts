/** A source, the server it follows, and what it reports; for tests. */
import type { Service } from "../../model/objects.ts";
import { Recorder } from "../test_support.ts";
import type { Access } from "./access.ts";
import type { ReflectorTiming } from "./reflector.ts";
import { KubeSource } from "./source.ts";
import { ApiServer } from "./server_support.ts";

export const title = (name: string) => `Service default/${name}`;

export const serviceSpec = (clusterIP = "10.96.0.1") => ({
  spec: { clusterIP, ports: [{ port: 80 }] },
});

export const sliceSpec = (...addresses: string[]) => ({
  addressType: "IPv4",
  ports: [{ port: 8080 }],
  endpoints: addresses.map((address) => ({ addresses: [address] })),
});

export class Place implements AsyncDisposable {
  readonly api = new ApiServer();
  readonly sink = new Recorder();
  readonly source: KubeSource;

  constructor(
    timing: Partial<ReflectorTiming> & { podWeights?: boolean } = {},
    access: Partial<Access> = {},
  ) {
    this.api.onRequest = () => this.sink.wake();
    this.source = new KubeSource(
      { server: this.api.url, from: "kubeconfig", insecure: false, identity: {}, ...access },
      this.sink,
      { backoff: { firstMs: 5, longestMs: 20 }, goodWatchMs: 300, ...timing },
    );
  }

  /** Labels of a slice. */
  static of(service: string) {
    return { labels: { "kubernetes.io/service-name": service } };
  }

  /** Resolves when everything was read and is watched. */
  async started() {
    await this.source.start();
    await this.sink.until(() => this.api.watches.size === 4);
  }

  ip(name: string): string | undefined {
    return (this.sink.objects.get(title(name)) as Service | undefined)?.clusterIPs[0];
  }

  /** How many requests there were so far that start so. */
  count(start: string): number {
    return this.api.requests.filter((one) => one.startsWith(start)).length;
  }

  /** Does something, and waits for a request that follows it. */
  async requested(act: () => void, start: string) {
    const before = this.count(start);
    act();
    await this.sink.until(() => this.count(start) > before);
  }

  async [Symbol.asyncDispose]() {
    await this.source.closeAndWait();
    await this.api[Symbol.asyncDispose]();
  }
}

/** A test over a place of its own. */
export function withPlace(
  name: string,
  test: (place: Place) => Promise<void>,
  timing: Partial<ReflectorTiming> = {},
) {
  Deno.test(name, async () => {
    await using place = new Place(timing);
    await test(place);
  });
}
