/**
 * The condition NetworkUnavailable of the Node. Cloud controllers set it to True, and no pod is scheduled until the network
 * provider sets it to False. While it is True the control plane taints the Node with NoSchedule: pods that run stay.
 */
import { Backoff, pause } from "../../cluster/kube/backoff.ts";
import type { ApiClient } from "../../cluster/kube/client.ts";
import type { Log } from "../log.ts";

export class NodeCondition {
  readonly #control = new AbortController();
  #working: Promise<void> | undefined;
  /** Why no pod can start here; undefined: pods can. */
  #refusal: string | undefined;
  readonly #client: Pick<ApiClient, "json">;
  readonly #nodeName: string;
  readonly #log: Log;
  readonly #backoff: Backoff;

  constructor(
    client: Pick<ApiClient, "json">,
    nodeName: string,
    log: Log,
    backoff = new Backoff({ firstMs: 500 }),
  ) {
    this.#client = client;
    this.#nodeName = nodeName;
    this.#log = log;
    this.#backoff = backoff;
  }

  /**
   * Sets NetworkUnavailable, and repeats that until the server accepts it.
   * @param refusal why no pod can start here; undefined: pods can
   */
  set(refusal: string | undefined) {
    this.#refusal = refusal;
    this.#working ??= this.#patch();
  }

  async stop() {
    this.#control.abort();
    await this.#working;
  }

  async #patch() {
    const { signal } = this.#control;
    for (let tries = 1; !signal.aborted; tries++) {
      const refusal = this.#refusal;
      const status = refusal === undefined ? "False" : "True";
      try {
        await this.#client.json(`/api/v1/nodes/${this.#nodeName}/status`, {
          method: "PATCH",
          // Merged by `type`: other conditions stay.
          contentType: "application/strategic-merge-patch+json",
          body: { status: { conditions: [condition(new Date(), refusal)] } },
          signal,
        });
        this.#backoff.reset();
        this.#log.info(`the Node's NetworkUnavailable is ${status}`);
        if (refusal !== this.#refusal) continue;
        this.#working = undefined;
        return;
      } catch (error) {
        if (signal.aborted) return;
        const retryMs = this.#backoff.next();
        const level = tries === 3 ? "warn" : "debug";
        const reason = (error as Error).message;
        this.#log[level](
          { event: "NodeCondition", retryMs },
          `cannot set the Node's NetworkUnavailable to ${status}: ${reason}; repeated in ${
            Math.round(retryMs / 1000)
          } s`,
        );
        await pause(retryMs, signal);
      }
    }
  }
}

/** As a body for the API. */
export function condition(now: Date, refusal?: string) {
  const time = now.toISOString().replace(/\.\d+Z$/, "Z");
  return {
    type: "NetworkUnavailable",
    status: refusal === undefined ? "False" : "True",
    reason: refusal === undefined ? "PcnkIsUp" : "PcnkIsBroken",
    message: refusal ?? "pcnk is running on this node",
    lastTransitionTime: time,
    lastHeartbeatTime: time,
  };
}
