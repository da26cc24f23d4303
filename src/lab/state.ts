/**
 * The lab's state on disk: what was started under which pid, which pod got which address. Written step by step, each time
 * whole and by rename, so that a reader never sees half of it and a crash loses one step at most.
 */
import { replaceFile } from "../node/files.ts";
import type { LabOptions, LabPlan } from "./plan.ts";
import { DEFAULT_OPTIONS, LAB_ROOT, labDir, planLab } from "./plan.ts";
import { identify, isAlive, type ProcessId } from "./process.ts";
import type { CniResult } from "./runtime.ts";

/** A port of the node that leads to the pod. */
export interface PortMapping {
  hostPort: number;
  containerPort: number;
  protocol: "tcp" | "udp";
}

/** What CNI ADD gave a pod. */
export interface Wiring {
  address: string;
  /** The host end of its veth pair. */
  veth: string;
  result: CniResult;
}

/** A pod that CNI ADD has wired, or is about to. */
export interface PodState extends Partial<Pick<Wiring, "result">> {
  name: string;
  node: string;
  /** Empty until ADD is done, as is `veth`. */
  address: string;
  /** The host end of its veth pair, a device of the node. */
  veth: string;
  portMappings: PortMapping[];
  server?: ProcessId;
}

/** What lab.json holds. */
export interface LabState {
  version: 1;
  options: LabOptions;
  /** `starting`: `lab up` is at work, or was when it crashed. */
  phase: "starting" | "up";
  /** Who runs, or ran, `lab up`. */
  owner: ProcessId;
  /** ISO 8601. */
  startedAt: string;
  /** Words that start pcnk. */
  command: string[];
  /** The folder of the reference plugins. */
  plugins: string;
  /** The cgroup2 mount, null when the machine has none. */
  cgroupRoot: string | null;
  /** By node. */
  agents: Record<string, ProcessId>;
  /** The server outside. */
  outside?: ProcessId;
  /** By pod; those added later too. */
  pods: Record<string, PodState>;
}

/** What a lab finds on the machine. */
type Machine = Pick<LabState, "command" | "plugins" | "cgroupRoot">;

/** There is a lab of that name already. */
export class LabExistsError extends Error {
  override readonly name = "LabExistsError";
}

/** There is no lab of that name. */
export class NoLabError extends Error {
  override readonly name = "NoLabError";
}

/** The lab's plan with its state; every change is on disk when `update` returns. */
export class LabStore {
  private constructor(readonly plan: LabPlan, readonly state: LabState) {}

  /**
   * Makes the lab's folder and state file; the folder is also the lock against a second `lab up`.
   *
   * @throws LabExistsError
   */
  static create(plan: LabPlan, machine: Machine): LabStore {
    Deno.mkdirSync(LAB_ROOT, { recursive: true, mode: 0o700 });
    try {
      Deno.mkdirSync(plan.dir, { mode: 0o700 });
    } catch (error) {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
      throw new LabExistsError(whatIsThere(plan.options.name));
    }
    const store = new LabStore(plan, {
      version: 1,
      options: plan.options,
      phase: "starting",
      owner: identify(Deno.pid)!,
      startedAt: new Date().toISOString(),
      ...machine,
      agents: {},
      pods: {},
    });
    store.update(() => {});
    return store;
  }

  /**
   * Reads the state of a lab.
   *
   * @throws NoLabError when there is none; Error when its state cannot be read.
   */
  static open(name: string): LabStore {
    const path = `${labDir(name)}/lab.json`;
    let text: string;
    try {
      text = Deno.readTextFileSync(path);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      throw new NoLabError(
        `there is no lab named ${name}; make one: pcnk lab up${nameOption(name)}`,
      );
    }
    const state = parseState(path, text);
    return new LabStore(planLab({ ...DEFAULT_OPTIONS, ...state.options }), state);
  }

  /** Changes the state and writes it. */
  update(change: (state: LabState) => void): void {
    change(this.state);
    replaceFile(this.plan.stateFile, JSON.stringify(this.state, null, 2) + "\n");
  }

  /** Whether `lab up` is still at work, in another process than this one. */
  get busy(): boolean {
    const { phase, owner } = this.state;
    return phase === "starting" && owner.pid !== Deno.pid && isAlive(owner);
  }

  /** The cgroup folder of a node or pod; null when the machine has no cgroup2. */
  cgroup(path: string): string | null {
    return this.state.cgroupRoot === null ? null : `${this.state.cgroupRoot}/${path}`;
  }
}

/** What has to be added to a command so that it means the lab of this name. */
export function nameOption(name: string): string {
  return name === DEFAULT_OPTIONS.name ? "" : ` --name ${name}`;
}

/** Why there cannot be another lab of that name. */
function whatIsThere(name: string): string {
  const option = nameOption(name);
  try {
    const store = LabStore.open(name);
    if (store.busy) return `lab ${name} is just being made, by process ${store.state.owner.pid}`;
    if (store.state.phase === "up") {
      return `lab ${name} is up already; pcnk lab status${option} shows it, pcnk lab down${option} removes it`;
    }
  } catch {
    // Then it is no lab to work with.
  }
  return `lab ${name} is left over from a crash; remove it: pcnk lab down${option}`;
}

function parseState(path: string, text: string): LabState {
  let state: LabState;
  try {
    state = JSON.parse(text);
  } catch (error) {
    throw new Error(`${path} is broken: ${(error as Error).message}; remove it: pcnk lab down`);
  }
  if (state?.version !== 1) {
    throw new Error(`${path} is of another version of pcnk; remove that lab: pcnk lab down`);
  }
  return state;
}
