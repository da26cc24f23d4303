/**
 * A machine for tests of plans: files in a folder of its own, by the code that writes real ones; kernel parameters and systemd are values.
 * A test can have it fail at any step, as a killed installation does.
 */
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { applyInstall, carryOut, StepError } from "./apply.ts";
import { type FileOptions, findFiles, findSysctls } from "./find_files.ts";
import { hashFile, type Machine, realMachine } from "./machine.ts";
import type { SourceFile } from "./builder.ts";
import { type InstallOptions, planInstall } from "./plan.ts";
import { readRecord } from "./record.ts";
import type { RemovalStep } from "./removal.ts";
import type { Plan, Step } from "./steps.ts";
import { UNIT } from "./texts.ts";

const WANTS = `/etc/systemd/system/multi-user.target.wants/${UNIT}`;

/** Where a killed installation stops: before its nth step (from 0), or in it, when nothing but the record is there. */
interface Kill {
  at: number;
  when: "before" | "after";
}

export class FolderMachine implements Machine, Disposable {
  readonly root = Deno.makeTempDirSync({ prefix: "pcnk-t-" });
  readonly #disk = realMachine(this.root);
  live = true;
  systemd = true;
  sysctls: Record<string, string> = { "net/ipv4/ip_forward": "0" };
  /** What the running agent was started with: the executable's content and its configuration. */
  agent: string | undefined;
  /** Commands that were run. */
  ran: string[] = [];

  find = (path: string) => this.#disk.find(path);
  list = (path: string) => this.#disk.list(path);
  text = (path: string) => this.#disk.text(path);
  hash = (path: string) => this.#disk.hash(path);
  sysctl = (name: string) => this.live ? this.sysctls[name] : undefined;
  rules = () => [];
  nftTables = () => [];
  newerState = (_bpffs: string, _stateDir: string): string | undefined => undefined;
  active = () => this.agent !== undefined;

  at(path: string): string {
    return join(this.root, path);
  }

  put(path: string, text: string, mode = 0o644): void {
    mkdirSync(dirname(this.at(path)), { recursive: true });
    writeFileSync(this.at(path), text, { mode });
  }

  /** A file outside of what an installation writes, as something to install. */
  executable(text: string): SourceFile {
    const name = `/build/${text.replaceAll(" ", "-")}`;
    this.put(name, text, 0o755);
    const path = this.at(name);
    return { path, size: statSync(path).size, hash: hashFile(path) };
  }

  plan(options: InstallOptions): Plan {
    return planInstall(this, readRecord(this), options);
  }

  /** Carries a plan out, until it is "killed". */
  install(options: InstallOptions, kill?: Kill): Plan {
    const plan = this.plan(options);
    let n = 0;
    const act = (step: Step) => {
      const dead = n++ === kill?.at;
      if (dead && kill.when === "before") throw new StepError(step, "killed");
      this.act(step);
      if (dead) throw new StepError(step, "killed");
    };
    try {
      applyInstall(plan.steps, { root: this.root, record: readRecord(this), act }, () => {});
    } catch (error) {
      if (!(error instanceof StepError && error.reason === "killed")) throw error;
    }
    return plan;
  }

  removal(options: FileOptions): { steps: RemovalStep[]; notes: string[] } {
    const record = readRecord(this);
    const { first, steps, notes } = findFiles(this, record, options);
    return { steps: [...first, ...findSysctls(this, record.sysctls), ...steps], notes };
  }

  uninstall(options: FileOptions): string[] {
    const { steps, notes } = this.removal(options);
    for (const step of steps) this.act(step);
    return notes;
  }

  act(step: RemovalStep): void {
    if (step.do === "set-sysctl") this.sysctls[step.name] = step.value;
    else if (step.do === "run") this.#run(step.command);
    else if (step.do === "remove-tree") rmSync(this.at(step.path), { recursive: true });
    else carryOut(step as Step, this.root);
  }

  #run(command: string[]): void {
    const [program, verb] = command;
    this.ran.push(command.slice(0, 2).join(" "));
    if (program !== "systemctl") throw new Error(`no such command here: ${command.join(" ")}`);
    if (verb === "enable") {
      carryOut({ do: "make-directory", path: dirname(WANTS) }, this.root);
      carryOut({ do: "make-link", path: WANTS, target: "x", why: "" }, this.root);
    } else if (verb === "disable") {
      rmSync(this.at(WANTS), { force: true });
      this.agent = undefined;
    } else if (verb === "restart" || verb === "start") this.agent = this.wouldRun();
  }

  /** What an agent that is started now runs with. */
  wouldRun(): string {
    const files = ["/opt/cni/bin/pcnk", "/etc/pcnk/config.yaml"];
    return files.map((path) => readFileSync(this.at(path), "utf8")).join("\0");
  }

  /** Every path below the root with its content, apart from the things to install. */
  snapshot(): Record<string, string> {
    const found: Record<string, string> = {};
    const walk = (path: string) => {
      for (const { name, isDirectory, isSymlink } of Deno.readDirSync(this.at(path))) {
        const at = `${path}/${name}`;
        if (at === "/build") continue;
        if (isDirectory) walk(at);
        const real = this.at(at);
        found[at] = isDirectory
          ? "directory"
          : isSymlink
          ? `-> ${Deno.readLinkSync(real)}`
          : `${(statSync(real).mode & 0o777).toString(8)} ${readFileSync(real, "utf8")}`;
      }
    };
    walk("");
    return found;
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true });
  }
}

/** A machine with the reference plugins of Debian, and things of others. */
export function debianMachine(): FolderMachine {
  const machine = new FolderMachine();
  for (const name of ["bridge", "host-local", "portmap", "loopback"]) {
    machine.put(`/usr/lib/cni/${name}`, `Debian's ${name}`, 0o755);
  }
  machine.put("/etc/containerd/config.toml", `[x]\n  bin_dir = "/usr/lib/cni"\n`);
  machine.put("/etc/cni/net.d/99-other.conflist", `{"plugins":[{"type":"bridge"}]}`);
  machine.put("/etc/systemd/system/multi-user.target.wants/other.service", "[Service]\n");
  machine.put("/etc/systemd/network/20-other.network", "[Match]\n");
  machine.put("/opt/cni/bin/other", "not pcnk's", 0o755);
  machine.put("/usr/local/bin/other", "not pcnk's", 0o755);
  return machine;
}
