/**
 * Pods that may send from any address: those with the annotation `pcnk.io/source-check: "off"` as they started, while the
 * setting `sourceCheck` is `annotated`. Each is asked of the API server once: a tenant who may annotate a Pod is trusted only
 * where the node's setting says so, and no other Pods are followed.
 */
import { POD_DEVICE_FLAG, type PodDevice, type PodDeviceKey } from "../../bpf/layout.ts";
import type { AgentConfig } from "../../config/schema.ts";
import type { Attachment } from "../../node/attachments.ts";
import type { Log } from "../log.ts";

/** Milliseconds until a Pod is asked for again after an error. */
const againMs = 5000;

interface UncheckedPodsOptions {
  config: Pick<AgentConfig, "sourceCheck">;
  /** Map of the pods' devices. */
  devices: {
    get(key: PodDeviceKey): PodDevice | undefined;
    set(key: PodDeviceKey, value: PodDevice): void;
  };
  records: () => readonly Attachment[];
  /** Whether the Pod `namespace/name` has the annotation; undefined: there is no API server to ask. */
  isExempt?: (pod: string) => Promise<boolean>;
  log: Log;
}

export class UncheckedPods {
  readonly #options: UncheckedPodsOptions;
  /** By container and interface. */
  #exempt = new Map<string, boolean>();
  #asking = false;
  #notBefore = 0;
  /** The last error that was reported. */
  #trouble = "";
  /** Since the setting is another one than `annotated`, no flag is left: there is nothing to look at. */
  #cleared = false;

  constructor(options: UncheckedPodsOptions) {
    this.#options = options;
  }

  /** Brings the pods' devices up to date with what is known, and asks for what is not. */
  look(): void {
    const { config, devices, records, log } = this.#options;
    const annotated = config.sourceCheck === "annotated";
    if (!annotated && this.#cleared) return;
    this.#cleared = !annotated;
    const present = new Map(records().map((record) => [keyOf(record), record]));
    for (const [key, { hostIfindex: ifindex, hostIfname, mac, pod }] of present) {
      const entry = devices.get({ ifindex });
      if (entry?.mac !== mac) continue;
      const unchecked = annotated && this.#exempt.get(key) === true;
      const flags = unchecked
        ? entry.flags | POD_DEVICE_FLAG.UNCHECKED
        : entry.flags & ~POD_DEVICE_FLAG.UNCHECKED;
      if (flags === entry.flags) continue;
      devices.set({ ifindex }, { ...entry, flags });
      log.info(
        { device: hostIfname, pod },
        unchecked ? "the pod may send from any address" : "the pod sends from its own addresses",
      );
    }
    this.#exempt = new Map([...this.#exempt].filter(([key]) => present.has(key)));
    const unknown = [...present.values()].filter((one) => one.pod && !this.#exempt.has(keyOf(one)));
    if (annotated && unknown.length > 0) void this.#ask(unknown);
  }

  async #ask(records: readonly Attachment[]): Promise<void> {
    const { isExempt, log } = this.#options;
    if (isExempt === undefined || this.#asking || performance.now() < this.#notBefore) return;
    this.#asking = true;
    try {
      for (const record of records) {
        this.#exempt.set(keyOf(record), await isExempt(record.pod!));
      }
      this.#trouble = "";
    } catch (err) {
      this.#notBefore = performance.now() + againMs;
      const { message } = err as Error;
      if (message !== this.#trouble) {
        const text = "cannot read the annotations of pods: their source addresses are checked";
        log.warn({ event: "SourceProblem", err }, text);
      }
      this.#trouble = message;
    } finally {
      this.#asking = false;
    }
    if (this.#notBefore < performance.now()) this.look();
  }
}

const keyOf = ({ containerID, ifname }: Attachment) => `${containerID}@${ifname}`;
