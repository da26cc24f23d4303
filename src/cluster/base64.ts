/** Base64 of a text's UTF-8 bytes (RFC 4648, section 4). */
export function toBase64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}

/** Bytes that are no UTF-8 become U+FFFD; what is no base64 is empty. */
export function fromBase64(value: unknown): string {
  if (typeof value !== "string") return "";
  try {
    return new TextDecoder().decode(Uint8Array.from(atob(value), (char) => char.charCodeAt(0)));
  } catch {
    return "";
  }
}
