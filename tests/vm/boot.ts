/**
 * A virtual machine (qemu, software emulation, so no KVM is needed) with a given kernel. Its root is a folder of this
 * machine, shared read-only by 9p, below a tmpfs that takes every write. Commands run in it one after the other; what they
 * print and their exit codes come back in a second shared folder.
 */
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { root as checkout, run } from "../../src/build/steps.ts";
import type { Arch } from "./archive.ts";
import type { Kernel } from "./kernels.ts";

/** Where a machine's programs come from. */
export interface Root {
  /** `/` for this machine's own. */
  folder: string;
  /** A static busybox of the kernel's architecture. */
  busybox: string;
  /** Files below it that every step reads: they are loaded with the kernel, as 9p of old kernels is slow. */
  large: readonly string[];
}

/** A command that a machine runs, in a shell and in the checkout. */
interface Step {
  name: string;
  command: string;
}

/** What became of a step. */
interface StepResult extends Step {
  code: number;
  /** Standard output and standard error. */
  output: string;
  seconds: number;
}

const QEMU: Record<Arch, { command: string; machine: string[]; console: string }> = {
  amd64: {
    command: "qemu-system-x86_64",
    machine: ["-machine", "q35,accel=tcg", "-cpu", "max"],
    console: "ttyS0",
  },
  arm64: {
    command: "qemu-system-aarch64",
    machine: ["-machine", "virt,accel=tcg", "-cpu", "cortex-a72"],
    console: "ttyAMA0",
  },
};

/** A machine that hangs is ended; one that is merely slow takes a few minutes. */
const LIMIT_MS = 30 * 60_000;

const MODULES = ["virtio_pci", "9pnet_virtio", "9p", "overlay"];

/**
 * Boots a machine, runs the steps, and ends it.
 * @returns one result for each step that came to an end
 * @throws {Error} with the console's text when not even the first step was reached
 */
export async function boot(
  kernel: Kernel,
  root: Root,
  steps: readonly Step[],
): Promise<StepResult[]> {
  const folder = mkdtempSync(join(tmpdir(), "pcnk-vm-"));
  try {
    const out = join(folder, "out");
    mkdirSync(out);
    writeFileSync(join(out, "run.sh"), script(steps));
    const initrd = join(folder, "initrd");
    makeInitrd(initrd, join(folder, "initrd.d"), kernel, root);
    const console = await qemu(kernel, root, initrd, out);
    const results = steps.flatMap((step, i) => {
      const [code, seconds] = readIfThere(join(out, `${i}.code`)).split(" ").map(Number);
      if (seconds === undefined) return [];
      return [{ ...step, code: code!, seconds, output: readIfThere(join(out, `${i}.log`)) }];
    });
    if (results.length === 0) throw new Error(`Linux ${kernel.release} ran nothing:\n${console}`);
    return results;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function qemu(kernel: Kernel, root: Root, initrd: string, out: string): Promise<string> {
  const { command, machine, console } = QEMU[kernel.arch];
  const share = (tag: string, path: string, more = "") => [
    "-virtfs",
    `local,path=${path},mount_tag=${tag},security_model=none,multidevs=remap${more}`,
  ];
  const child = new Deno.Command("setpriv", {
    args: [
      // It ends with this process, whatever ends that.
      ...[
        "--pdeathsig",
        "kill",
        "nice",
        "-n",
        "10",
        command,
        ...machine,
        "-smp",
        "2",
        "-m",
        "3072",
      ],
      ...["-nodefaults", "-no-reboot", "-nographic", "-serial", "stdio"],
      ...["-kernel", kernel.image, "-initrd", initrd],
      ...["-append", `console=${console} quiet panic=-1 mitigations=off random.trust_cpu=on`],
      ...share("root", root.folder, ",readonly=on"),
      ...share("checkout", checkout, ",readonly=on"),
      ...share("modules", join(kernel.folder, "lib/modules"), ",readonly=on"),
      ...share("out", out),
    ],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    signal: AbortSignal.timeout(LIMIT_MS),
  }).spawn();
  const { stdout, stderr } = await child.output();
  const text = new TextDecoder();
  return text.decode(stdout) + text.decode(stderr);
}

/** What the machine does once its root is there. */
function script(steps: readonly Step[]): string {
  const run = steps.map(({ command }, i) =>
    `read start rest </proc/uptime
(cd ${checkout} && ${command}) >/out/${i}.log 2>&1 </dev/null
code=$?
read end rest </proc/uptime
echo $code $((\${end%.*} - \${start%.*})) >/out/${i}.code
`
  );
  return `export PATH=/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root TMPDIR=/tmp NO_COLOR=1
mkdir -p /lib/modules /dev/shm /dev/pts
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro modules /lib/modules
ln -sf /vm/busybox /sbin/modprobe
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t tmpfs shm /dev/shm
mount -t devpts pts /dev/pts
ip link set lo up
hostname vm
${run.join("")}
/vm/busybox poweroff -f
`;
}

/** What the kernel starts with: it mounts the root and hands over to run.sh. */
const INIT = `#!/bin/busybox sh
export PATH=/bin
busybox mkdir -p /proc /sys /dev /lower /upper /root
busybox mount -t proc proc /proc
busybox --install -s /bin
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in ${MODULES.join(" ")}; do modprobe $module; done
options=trans=virtio,version=9p2000.L,msize=262144
mount -t 9p -o $options,cache=loose,ro root /lower
mount -t tmpfs -o size=75% upper /upper
mkdir -p /upper/u/vm /upper/u/out /upper/work
cp /bin/busybox /upper/u/vm
[ ! -d /large ] || cp -r /large/* /upper/u
mount -t overlay -o lowerdir=/lower,upperdir=/upper/u,workdir=/upper/work root /root
mkdir -p /root$CHECKOUT /root/proc /root/sys /root/dev /root/tmp /root/run
[ -e /root$CHECKOUT/deno.json ] || mount -t 9p -o $options,cache=loose,ro checkout /root$CHECKOUT
mount -t 9p -o $options out /root/out
for each in proc sys dev; do mount --move /$each /root/$each; done
for each in tmp run; do mount -t tmpfs $each /root/$each; done
exec switch_root /root /bin/sh /out/run.sh
`;

function makeInitrd(
  file: string,
  folder: string,
  kernel: Kernel,
  root: Root,
): void {
  const copy = (from: string, to: string) => {
    mkdirSync(dirname(join(folder, to)), { recursive: true });
    copyFileSync(from, join(folder, to));
  };
  copy(root.busybox, "bin/busybox");
  for (const path of root.large) copy(join(root.folder, path), `large/${path}`);
  const modules = join("lib/modules", kernel.release);
  for (const path of withDependencies(join(kernel.folder, modules, "modules.dep"))) {
    copy(join(kernel.folder, modules, path), join(modules, path));
  }
  run("busybox", ["depmod", "-b", folder, kernel.release]);
  const init = INIT.replaceAll("$CHECKOUT", checkout);
  writeFileSync(join(folder, "init"), init, { mode: 0o755 });
  run("sh", ["-c", `cd '${folder}' && find . | busybox cpio -o -H newc >'${file}' 2>/dev/null`]);
  rmSync(folder, { recursive: true });
}

/** Paths of MODULES and of those they need; a module that is built in has none. */
function withDependencies(dep: string): Set<string> {
  const lines = readFileSync(dep, "utf8").split("\n").map((line) => line.split(/:? /));
  const named = (path: string) => path.slice(path.lastIndexOf("/") + 1).split(".")[0];
  const wanted = lines.filter(([path]) => MODULES.includes(named(path!.replace(/:$/, ""))!));
  return new Set(wanted.flat().map((path) => path.replace(/:$/, "")).filter((path) => path !== ""));
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
