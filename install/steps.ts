/** The steps of `pcnk install` and `pcnk uninstall`, one change each: plain data, which `--dry-run` prints and does not carry out. */

/** One change of the machine. */
export type Step =
  | { do: "make-directory"; path: string }
  | {
    do: "write-file";
    path: string;
    text: string;
    mode: number;
    why: string;
    /** An operator has edited it: not on record, so that `pcnk uninstall` keeps it. */
    shared?: boolean;
  }
  | {
    do: "copy-file";
    path: string;
    from: string;
    /** `from` is below `--root`, as `path` is. */
    inside?: boolean;
    mode: number;
    why: string;
  }
  | { do: "make-link"; path: string; target: string; why: string }
  | { do: "remove-file"; path: string; why: string }
  | { do: "remove-directory"; path: string }
  | { do: "set-sysctl"; name: string; value: string; before?: string; why: string }
  | {
    do: "run";
    command: string[];
    input?: string;
    why: string;
    optional?: boolean;
    /** Restarts the agent: earlier changes have no effect until then. */
    restart?: boolean;
  };

/** Steps and messages. */
export interface Plan {
  steps: Step[];
  /** For the user; nothing failed. */
  notes: string[];
  /** What makes the plan impossible; each says what to do. */
  problems: string[];
}

/** A step in one line. */
export function describeStep(step: Step): string {
  switch (step.do) {
    case "make-directory":
      return `make directory ${step.path}`;
    case "write-file":
      return `write ${step.path}: ${step.why}`;
    case "copy-file":
      return `copy ${step.from} to ${step.path}: ${step.why}`;
    case "make-link":
      return `link ${step.path} to ${step.target}: ${step.why}`;
    case "remove-file":
      return `remove ${step.path}: ${step.why}`;
    case "remove-directory":
      return `remove directory ${step.path} if it is empty`;
    case "set-sysctl":
      return `set ${step.name.replaceAll("/", ".")} to ${step.value}: ${step.why}`;
    case "run":
      return `run ${step.command.join(" ")}: ${step.why}`;
  }
}

/** A problem that the user can solve; the message says how. */
export class InstallError extends Error {
  override readonly name = "InstallError";
}
