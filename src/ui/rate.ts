/** How fast counters go: the difference of two looks by the time between them. */

/** Looks further apart say nothing of now. Milliseconds. */
const TOO_LONG = 30_000;

export class Rates {
  #before: { at: number; values: Map<string, number> } | undefined;

  /** @param at milliseconds of a steady clock; @returns per second, null where there is nothing to compare with */
  next(at: number, values: Map<string, number>): Map<string, number | null> {
    const before = this.#before;
    this.#before = { at, values };
    const seconds = before === undefined ? 0 : (at - before.at) / 1000;
    const known = seconds > 0 && seconds * 1000 <= TOO_LONG;
    return new Map(
      [...values].map(([key, value]) => {
        const last = before?.values.get(key);
        // Smaller than before: the counter was created again, and starts at 0.
        return [
          key,
          !known || last === undefined || value < last ? null : (value - last) / seconds,
        ];
      }),
    );
  }
}

/** Packets of devices: /proc/net/dev, of this process's network namespace. */
interface DeviceCounters {
  received: number;
  sent: number;
  dropped: number;
}

/** Takes /proc/net/dev apart (proc(5)). */
export function parseDevices(text: string): Map<string, DeviceCounters> {
  const found = new Map<string, DeviceCounters>();
  for (const line of text.split("\n").slice(2)) {
    const colon = line.lastIndexOf(":");
    if (colon < 0) continue;
    const numbers = line.slice(colon + 1).trim().split(/\s+/).map(Number);
    const [, received = 0, , dropIn = 0] = numbers;
    const [, sent = 0, , dropOut = 0] = numbers.slice(8);
    found.set(line.slice(0, colon).trim(), { received, sent, dropped: dropIn + dropOut });
  }
  return found;
}
