/** Reports to the API server: Events and the condition of this node's Node. Does nothing when objects come from manifests. */
import { ApiClient } from "../../cluster/kube/client.ts";
import type { SourceChoice } from "../sources/object_source.ts";
import type { EventListener, Log } from "../log.ts";
import { NodeCondition } from "./node_condition.ts";
import { NodeEvents } from "./node_events.ts";

export class ApiReporter implements AsyncDisposable {
  readonly #client: ApiClient | undefined;
  readonly #events: NodeEvents | undefined;
  #nodeCondition: NodeCondition | undefined;
  readonly #nodeName: string;

  constructor(choice: SourceChoice, nodeName: string) {
    this.#nodeName = nodeName;
    if (!("access" in choice)) return;
    const client = this.#client = new ApiClient(choice.access);
    this.#events = new NodeEvents({ client, nodeName });
  }

  /** Makes an Event on this node's Node. */
  readonly report: EventListener = (event) => this.#events?.report(event);

  /** The Node's NetworkUnavailable. */
  condition(log: Log): NodeCondition | undefined {
    if (this.#client === undefined) return undefined;
    return this.#nodeCondition ??= new NodeCondition(this.#client, this.#nodeName, log);
  }

  async [Symbol.asyncDispose]() {
    await this.#nodeCondition?.stop();
    await this.#events?.stop();
    this.#client?.close();
  }
}
