/** What the JSON of etcd's gateway is made of: bytes in base64, 64-bit numbers as strings. */

const encoder = new TextEncoder();

/** UTF-8, then base64. */
export function toBase64(text: string): string {
  return btoa(String.fromCharCode(...encoder.encode(text)));
}

/** Bytes that are no UTF-8 become U+FFFD; what is left out in JSON is empty. */
export function fromBase64(value: unknown): string {
  if (typeof value !== "string") return "";
  try {
    return new TextDecoder().decode(Uint8Array.from(atob(value), (char) => char.charCodeAt(0)));
  } catch {
    return "";
  }
}

/** A number that is left out is 0. */
export function int64(value: unknown): bigint {
  if (typeof value === "number" && Number.isSafeInteger(value)) return BigInt(value);
  return typeof value === "string" && /^-?\d+$/.test(value) ? BigInt(value) : 0n;
}
