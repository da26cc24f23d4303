/**
 * What many bytes come to, to see whether they are as they were. It does not protect against other bytes that were made to have
 * the same fingerprint.
 */
export class Fingerprint {
  #a = 0x811c9dc5;
  #b = 0x9e3779b9;
  #length = 0;

  /** Takes `length` bytes from `offset` on. Any single changed word of 32 bits leads to another text. */
  add(bytes: DataView, offset: number, length: number): void {
    let a = this.#a, b = this.#b;
    const end = offset + length, words = end - 3;
    let at = offset;
    for (; at < words; at += 4) {
      const word = bytes.getInt32(at);
      a = Math.imul(a ^ word, 0x01000193);
      b = Math.imul(b ^ word, 0x85ebca6b);
      b ^= b >>> 15;
    }
    for (; at < end; at++) {
      a = Math.imul(a ^ bytes.getUint8(at), 0x01000193);
    }
    this.#a = a;
    this.#b = b;
    this.#length += length;
  }

  get text(): string {
    return `${this.#length} ${this.#a} ${this.#b}`;
  }
}
