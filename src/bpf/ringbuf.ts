/**
 * Reads a BPF ring buffer (Documentation/bpf/ringbuf.rst) in its mapped memory: no callback from C, and no system call a
 * record.
 *
 * The memory has a page with the consumer's position, a page with the producer's, and the data twice in a row, so that
 * a record that wraps around can be read in one piece.
 */
import { mapMemory, type MappedMemory, pageSize } from "../linux/mmap.ts";
import { Poller } from "../linux/poll.ts";
import { MapMismatchError } from "./map.ts";
import { MAP_TYPE, mapInfo } from "./syscall.ts";

const BUSY = 0x8000_0000;
const DISCARD = 0x4000_0000;
const HEADER = 8;

/** A reader of a ring buffer. There may be one only. */
export class RingBuffer {
  readonly #consumerPage: MappedMemory;
  readonly #producerPages: MappedMemory;
  readonly #consumer: BigUint64Array<ArrayBuffer>;
  readonly #producer: BigUint64Array<ArrayBuffer>;
  readonly #headers: Uint32Array<ArrayBuffer>;
  readonly #data: Uint8Array<ArrayBuffer>;
  readonly #mask: number;
  readonly #poller: Poller;
  #closed = false;

  private constructor(fd: number, readonly onRecord: (record: Uint8Array<ArrayBuffer>) => void) {
    const { type, maxEntries, name } = mapInfo(fd);
    if (type !== MAP_TYPE.RINGBUF) throw new MapMismatchError(`map ${name} is not a ring buffer`);
    this.#mask = maxEntries - 1;
    const page = pageSize();
    this.#consumerPage = mapMemory(fd, page, { writable: true });
    try {
      this.#producerPages = mapMemory(fd, page + 2 * maxEntries, { offset: page });
    } catch (error) {
      this.#consumerPage.unmap();
      throw error;
    }
    this.#consumer = new BigUint64Array(this.#consumerPage.buffer, 0, 1);
    this.#producer = new BigUint64Array(this.#producerPages.buffer, 0, 1);
    this.#data = new Uint8Array(this.#producerPages.buffer, page);
    this.#headers = new Uint32Array(this.#producerPages.buffer, page);
    this.#poller = new Poller(fd);
  }

  /**
   * Opens the ring buffer of a map.
   * @param fd the map; stays the caller's, who closes it after `close()`
   * @param onRecord gets each record, a copy of its own
   */
  static open(fd: number, onRecord: (record: Uint8Array<ArrayBuffer>) => void): RingBuffer {
    return new RingBuffer(fd, onRecord);
  }

  /**
   * Delivers the records that the buffer has at the call; returns how many. A record is consumed before its callback runs, so
   * one whose callback throws is not delivered again.
   */
  consume(): number {
    if (this.#closed) return 0;
    let delivered = 0;
    let position = Atomics.load(this.#consumer, 0);
    const end = Atomics.load(this.#producer, 0);
    while (position < end) {
      const at = Number(position & BigInt(this.#mask));
      const header = Atomics.load(this.#headers, at / 4);
      if (header & BUSY) break; // reserved, not yet written
      const length = header & ~DISCARD & ~BUSY;
      const record = header & DISCARD
        ? undefined
        : this.#data.slice(at + HEADER, at + HEADER + length);
      position += BigInt((length + HEADER + 7) & ~7);
      Atomics.store(this.#consumer, 0, position);
      if (record) {
        delivered++;
        this.onRecord(record);
      }
    }
    return delivered;
  }

  /** Discards all records. */
  forget(): void {
    if (!this.#closed) Atomics.store(this.#consumer, 0, Atomics.load(this.#producer, 0));
  }

  /** Waits up to `timeoutMs` for records and delivers them; returns how many, 0 also after `close()`. */
  async poll(timeoutMs?: number): Promise<number> {
    const now = this.consume();
    if (now > 0) return now;
    return await this.#poller.readable(timeoutMs) ? this.consume() : 0;
  }

  /** Ends a `poll` and gives the memory back. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#poller.close();
    this.#consumerPage.unmap();
    this.#producerPages.unmap();
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
