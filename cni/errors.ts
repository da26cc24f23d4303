/** Errors as the runtime reads them: CNI SPEC 1.1, section 5, "Error". */

/** The spec's codes; plugins may use 100 and above for their own. */
export const CODE = {
  INCOMPATIBLE_VERSION: 1,
  UNSUPPORTED_FIELD: 2,
  UNKNOWN_CONTAINER: 3,
  INVALID_ENVIRONMENT: 4,
  IO_FAILURE: 5,
  DECODE_FAILURE: 6,
  INVALID_CONFIG: 7,
  TRY_AGAIN_LATER: 11,
  NOT_AVAILABLE: 50,
  /** What the kernel holds is not what was set up (CHECK). */
  CHECK_FAILED: 100,
  /** The kernel refused a step. */
  KERNEL: 101,
} as const;

/** A problem to report: `message` is short, `details` says what to do about it. */
export class CniError extends Error {
  override readonly name = "CniError";

  constructor(readonly code: number, message: string, readonly details?: string) {
    super(message);
  }
}

/** The JSON object of an error, in the version the configuration speaks. */
export function errorResult(error: unknown, cniVersion: string): Record<string, unknown> {
  const known = error instanceof CniError
    ? error
    : new CniError(CODE.IO_FAILURE, error instanceof Error ? error.message : String(error));
  const result: Record<string, unknown> = { cniVersion, code: known.code, msg: known.message };
  if (known.details) result["details"] = known.details;
  return result;
}
