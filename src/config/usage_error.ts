/** The call itself is wrong: exit code 2. The message is one line and says what would be right. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
