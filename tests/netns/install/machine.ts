/**
 * A machine to install on: a network namespace with an uplink, and a mount namespace in which /etc, /opt, /usr/local, /usr/lib/cni and /var/lib are
 * overlays that forget, and /run, /sys and bpffs its own. No systemd in it.
 */
import assert from "node:assert/strict";
import { Listener, pcnk } from "../../support/pcnk.ts";
import { Sandbox } from "../../support/sandbox.ts";
import { testCgroup } from "../../support/cgroup.ts";

const SETUP = `
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$TOP"
for d in etc opt usr/local usr/lib/cni var/lib; do
  mkdir -p "$TOP/$d/upper" "$TOP/$d/work"
  mount -t overlay overlay -o "lowerdir=/$d,upperdir=$TOP/$d/upper,workdir=$TOP/$d/work" "/$d"
done
rm -rf /opt/* /etc/cni/net.d/* /var/lib/cni
umount -l /sys
mount -t sysfs sysfs /sys
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ls -la /sys/fs/bpf >/dev/null
mount -t tmpfs tmpfs /run
echo ready
exec sleep 600
`;

/** What a command said. */
interface Said {
  code: number;
  stdout: string;
  stderr: string;
}

/** A process of the machine, and what it says (on standard error). */
interface Running {
  child: Deno.ChildProcess;
  out: Listener;
}

export class TestMachine {
  private readonly started: Running[] = [];
  /** A cgroup of its own. */
  readonly cgroup: string;

  private constructor(
    private readonly holder: Running,
    private readonly netns: string,
    sandbox: Sandbox,
  ) {
    this.cgroup = `/sys/fs/cgroup/${testCgroup(sandbox).split("/").at(-1)}`;
  }

  /** To be disposed of before the sandbox. */
  static async start(sandbox: Sandbox): Promise<TestMachine> {
    const [node, outside] = [sandbox.netns(), sandbox.netns()];
    sandbox.veth(node, outside, "up0");
    const uplink = node.nl.link("up0")!;
    node.nl.addAddr({ ifindex: uplink.index, address: "192.0.2.11", prefixLength: 24 });
    node.nl.addRoute({ destination: "0.0.0.0/0", gateway: "192.0.2.1", ifindex: uplink.index });
    const top = Deno.makeTempDirSync({ prefix: "pcnk-t-" });
    sandbox.defer(() => Deno.removeSync(top));
    const child = new Deno.Command("nsenter", {
      args: [`--net=${node.path}`, "unshare", "--mount", "sh", "-c", SETUP],
      env: { TOP: top },
      stdin: "null",
      stdout: "piped",
    }).spawn();
    const holder = { child, out: new Listener(child.stdout) };
    const machine = new TestMachine(holder, node.path, sandbox);
    await holder.out.line(/^ready$/);
    return machine;
  }

  private words(command: readonly string[]): string[] {
    return [
      `--target=${this.holder.child.pid}`,
      "--mount",
      `--net=${this.netns}`,
      "--",
      ...command,
    ];
  }

  /** Runs a command to its end. */
  run(
    command: readonly string[],
    options: { input?: string; env?: Record<string, string> } = {},
  ): Said {
    const { input, env = {} } = options;
    const file = input === undefined ? undefined : Deno.makeTempFileSync({ dir: "/dev/shm" });
    if (file !== undefined) Deno.writeTextFileSync(file, input!);
    try {
      const args = file === undefined
        ? this.words(command)
        : this.words(["sh", "-c", `exec "$@" <${file}`, "sh", ...command]);
      const { code, stdout, stderr } = new Deno.Command("nsenter", {
        args,
        env: { NO_COLOR: "1", ...env },
        stdin: "null",
      }).outputSync();
      const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
      return { code, stdout: text(stdout), stderr: text(stderr) };
    } finally {
      if (file !== undefined) Deno.removeSync(file);
    }
  }

  /** Runs `pcnk ARGS` of this build, which has to work. */
  pcnk(...args: string[]): string {
    const { code, stdout, stderr } = this.run([...pcnk, ...args]);
    assert.equal(code, 0, `pcnk ${args.join(" ")}: ${stderr}${stdout}`);
    return stdout;
  }

  /** Starts a command; it ends with the machine at the latest. */
  spawn(command: readonly string[]): Running {
    const child = new Deno.Command("nsenter", {
      args: this.words(command),
      env: { NO_COLOR: "1" },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const running = { child, out: new Listener(child.stderr) };
    this.started.push(running);
    return running;
  }

  shell(script: string): string {
    const { code, stdout, stderr } = this.run(["sh", "-c", script]);
    assert.equal(code, 0, `${script}: ${stderr}`);
    return stdout;
  }

  /** Everything that pcnk may change, line by line. */
  snapshot(): string[] {
    return this.shell(`
      ip -o link | sed 's/.*: \\([^:@]*\\)[@:].*mtu \\([0-9]*\\).*/link \\1 \\2/'
      ip -o -4 addr | sed 's/^[0-9]*: //; s/^/addr /'
      ip -4 route show table all | grep -v ^broadcast
      ip rule; ip neigh show nud permanent
      for d in $(ls /sys/class/net); do
        for h in ingress egress; do tc filter show dev $d $h | sed "s/^/$d $h /"; done
        tc qdisc show dev $d | sed "s/^/$d /"
      done
      find /sys/fs/bpf /etc/pcnk /etc/cni /etc/sysctl.d /etc/systemd /opt /usr/local/bin /usr/lib/cni /run /var/lib/cni 2>/dev/null | grep -v -e debug -e /run/mount | sort
      sysctl -a 2>/dev/null | grep -e ^net.ipv4.ip_forward -e ^net.ipv4.conf -e ^net.ipv4.ip_local_reserved
      nft list tables | grep -v -e ' ip filter' -e ' ip nat'
      nft list table inet mine 2>/dev/null
      iptables-save | grep -v '^[#:]' | grep -v CNI-
      true
    `).split("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { child, out } of [...this.started, this.holder]) {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended.
      }
      await out.all();
      await child.status;
    }
  }
}
