/** The IP versions. */
export type Family = 4 | 6;

/** A text that is no address, prefix or `address:port`. `message` names the text and the reason. */
export class AddressError extends TypeError {
  override readonly name = "AddressError";

  /**
   * @param what what the text should have been: "an IP address"
   * @param reason a clause for messages: "256 is more than 255"
   * @param family of an address that its RFC allows and pcnk does not take: with a zone, or IPv4-mapped
   */
  constructor(
    readonly text: string,
    readonly what: string,
    readonly reason: string,
    readonly family?: Family,
  ) {
    super(`${quote(text)} is not ${what}: ${reason}`);
  }
}

/** The text as JSON, at most 64 characters of it. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 64 ? `${text.slice(0, 63)}…` : text);
}
