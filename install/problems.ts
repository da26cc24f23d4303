/** What somebody can do something about; the message says what. */
export class InstallError extends Error {
  override readonly name = "InstallError";
}
