/**
 * The ids by which the kernel's entries name Service ports. An id that the kernel has stays with its entry, so that
 * sessions and affinity survive a restart of the agent; new ones count on from the highest.
 */
import type { PortId } from "../model/frontend.ts";

const max = 0xffff_ffff;

export class IdRegister {
  readonly #ports = new Map<number, PortId>();
  /** By the ports' texts. */
  readonly #ids = new Map<string, number>();
  #last = 0;

  readonly #taken: ReadonlySet<number>;

  /** @param taken ids of the kernel's entries: not given to other ports */
  constructor(taken: ReadonlySet<number> = new Set()) {
    this.#taken = taken;
    for (const id of taken) if (id > this.#last) this.#last = id;
  }

  /**
   * The id of a Service port: the one it has, or `present`, that of its entry in the kernel, unless another port has
   * that, or a new one. Never 0.
   */
  idOf(port: PortId, present: number | undefined): number {
    const known = this.#ids.get(port.text);
    if (known !== undefined) return known;
    const id = present !== undefined && present > 0 && !this.#ports.has(present)
      ? present
      : this.#next();
    this.#ports.set(id, port);
    this.#ids.set(port.text, id);
    return id;
  }

  /** The port that has an id. */
  portOf(id: number): PortId | undefined {
    return this.#ports.get(id);
  }

  /** Every id that a port has, with the port's text. */
  names(): Map<number, string> {
    return new Map([...this.#ports].map(([id, { text }]) => [id, text]));
  }

  /** Forgets all ports but those with these texts. */
  retain(texts: ReadonlySet<string>) {
    for (const [text, id] of this.#ids) {
      if (texts.has(text)) continue;
      this.#ids.delete(text);
      this.#ports.delete(id);
    }
  }

  #next(): number {
    do this.#last = this.#last >= max ? 1 : this.#last + 1; while (
      this.#ports.has(this.#last) || this.#taken.has(this.#last)
    );
    return this.#last;
  }
}
