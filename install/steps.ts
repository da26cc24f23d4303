/** What `pcnk install` and `pcnk uninstall` do, one change a step: plain data, so that `--dry-run` tells exactly what would be done. */

/** One change of the machine. */
export type Step =
  | { do: "make-directory"; path: string }
  | {
    do: "write-file";
    path: string;
    text: string;
    mode: number;
    why: string;
    /** An operator has a hand in it: not on record, and so it stays when pcnk goes. */
    shared?: boolean;
  }
  | {
    do: "copy-file";
    path: string;
    from: string;
    /** `from` is a path of the machine, as `path` is, and not of the system that runs. */
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
    /** It starts the agent anew: what was changed before it has no effect until then. */
    restart?: boolean;
  };

/** What is to be done, and what somebody should know. */
export interface Plan {
  steps: Step[];
  /** For the user; nothing is wrong. */
  notes: string[];
  /** What keeps it from working; each tells what to do. */
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
