/** Collects the steps of an installation: a method for each kind of thing that should be there, which adds a step unless it is. */
import { hashText, type Machine } from "./machine.ts";
import type { Plan, Step } from "./steps.ts";

/** A file of the running system, not below `--root`. */
export interface SourceFile {
  path: string;
  /** Bytes. */
  size: number;
  /** SHA-256. */
  hash: string;
}

/** Each method returns whether it added a step. */
export class Builder {
  readonly plan: Plan = { steps: [], notes: [], problems: [] };
  readonly #made = new Set<string>();

  constructor(readonly machine: Machine) {}

  /** A file is there with this content. */
  copy(source: SourceFile, path: string, why: string): boolean {
    const { machine } = this;
    const there = machine.find(path);
    if (there.kind === "directory") {
      this.plan.problems.push(`${path} is a directory: remove it`);
      return false;
    }
    const same = there.kind === "file" && (there.mode & 0o777) === 0o755 &&
      there.size === source.size && machine.hash(path) === source.hash;
    if (same) return false;
    this.directory(parent(path));
    const words = there.kind === "nothing" ? why : `${why}, replaced`;
    return this.#add({ do: "copy-file", path, from: source.path, mode: 0o755, why: words });
  }

  /** A file of the machine is copied over what is there. */
  copyFrom(from: string, path: string, why: string): true {
    this.directory(parent(path));
    return this.#add({ do: "copy-file", path, from, inside: true, mode: 0o755, why });
  }

  /** A text file is there. */
  write(path: string, text: string, why: string, mode = 0o644, shared = false): boolean {
    const there = this.machine.find(path);
    const same = there.kind === "file" && (there.mode & 0o777) === mode &&
      this.machine.hash(path) === hashText(text);
    if (same) return false;
    this.directory(parent(path));
    return this.#add({ do: "write-file", path, text, mode, why, shared });
  }

  /** A symbolic link is there; another file in its place stays. */
  link(path: string, target: string, why: string): boolean {
    const there = this.machine.find(path);
    if (there.kind === "link" && there.target === target) return false;
    if (there.kind !== "nothing" && there.kind !== "link") {
      this.plan.notes.push(`${path} is there already and stays as it is`);
      return false;
    }
    this.directory(parent(path));
    return this.#add({ do: "make-link", path, target, why });
  }

  /** A kernel parameter has this value. */
  sysctl(name: string, value: string, why: string): boolean {
    const before = this.machine.sysctl(name);
    if (before === undefined || before === value) return false;
    return this.#add({ do: "set-sysctl", name, value, before, why });
  }

  run(command: string[], why: string): true {
    return this.#add({ do: "run", command, why });
  }

  #add(step: Step): true {
    this.plan.steps.push(step);
    return true;
  }

  /** A directory is there, and those above it. */
  directory(path: string): void {
    if (path === "" || this.#made.has(path)) return;
    const { kind } = this.machine.find(path);
    if (kind === "directory" || kind === "link") return;
    this.directory(parent(path));
    this.#made.add(path);
    this.#add({ do: "make-directory", path });
  }
}

/** The directory that a path is in. */
export function parent(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}
