/** Errors as the runtime reads them: CNI SPEC 1.1, section 5, "Error". */

/**
 * The spec's codes; plugins may use 100 and above for their own. Its code 3, "container unknown", is left out: by it
 * the runtime concludes that no DEL is needed, which pcnk cannot know of the plugins before it.
 */
export const CODE = {
  /** The configuration's version is not supported, or does not have the verb. */
  INCOMPATIBLE_VERSION: 1,
  /** A key that pcnk does not know. */
  UNSUPPORTED_FIELD: 2,
  /** A CNI_* variable is missing or bad. */
  INVALID_ENVIRONMENT: 4,
  /** Standard input, or the state on disk. */
  IO_FAILURE: 5,
  /** What came in is no JSON object, or its version is none. */
  DECODE_FAILURE: 6,
  /** A known key with a bad value. */
  INVALID_CONFIG: 7,
  TRY_AGAIN_LATER: 11,
  NOT_AVAILABLE: 50,
  /** As 50, and running pods may be cut off. */
  LIMITED_CONNECTIVITY: 51,
  /** CHECK: the kernel does not hold what ADD set up. */
  CHECK_FAILED: 100,
  /** A system call failed. */
  KERNEL: 101,
  /** The pod's interface is no veth pair into this node. */
  NO_VETH: 102,
  /** A fault of pcnk. */
  INTERNAL: 103,
  /** A hostPort is another pod's, or a NodePort. */
  PORT_TAKEN: 104,
} as const;

/** An error for the runtime: `message` is short, `details` gives the reason or the remedy. */
export class CniError extends Error {
  override readonly name = "CniError";

  constructor(readonly code: number, message: string, readonly details?: string) {
    super(message);
  }
}

/** The error for a record that only a newer pcnk can read; the record stays. */
export function newerRecord(error: Error): CniError {
  return new CniError(CODE.TRY_AGAIN_LATER, "the node's state is of a newer pcnk", error.message);
}

/** The JSON object of an error, in the configuration's version. */
export function errorResult(error: CniError, cniVersion: string): Record<string, unknown> {
  const { code, message: msg, details } = error;
  return { cniVersion, code, msg, details }; // JSON leaves out what is undefined
}

/** A value in a message: as JSON, cut when it is long, so that no input can flood a log. */
export function show(value: unknown): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch {
    text = "(nested too deeply)";
  }
  text ??= String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
