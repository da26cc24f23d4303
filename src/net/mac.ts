/** MAC addresses as text, `aa:bb:cc:dd:ee:ff`, and as bytes. */
import { AddressError } from "./error.ts";

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** Six bytes as text; other lengths likewise. */
export function formatMac(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += text === "" ? HEX[byte]! : `:${HEX[byte]}`;
  return text;
}

/**
 * The six bytes of a MAC address.
 * @throws {AddressError}
 */
export function macBytes(text: string): Uint8Array<ArrayBuffer> {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) {
    throw new AddressError(text, "a MAC address", "it must be like 02:00:00:00:00:01");
  }
  return Uint8Array.from(text.split(":"), (part) => parseInt(part, 16));
}
