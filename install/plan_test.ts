import assert from "node:assert/strict";
import { containerdFolders, type InstallOptions } from "./plan.ts";
import { describeStep } from "./steps.ts";
import { debianMachine, type FolderMachine } from "./test_support.ts";

const REMOVAL = {
  stateDir: "/run/pcnk",
  cniConfDir: "/etc/cni/net.d",
  executable: "/opt/cni/bin/pcnk",
  all: false,
};

function options(machine: FolderMachine, more: Partial<InstallOptions> = {}): InstallOptions {
  return {
    executable: machine.executable("version 1"),
    cniBinDir: "/opt/cni/bin",
    noAgent: false,
    settings: new Map([["kubeconfig", "/etc/pcnk/kubeconfig"]]),
    ...more,
  };
}

const words = (machine: FolderMachine, given: InstallOptions) =>
  machine.plan(given).steps.map((step) => describeStep(step).replaceAll(machine.root, ""));

Deno.test("planInstall() has a step for each thing that a fresh machine lacks", () => {
  using machine = debianMachine();
  assert.deepEqual(words(machine, options(machine)), [
    "make directory /var",
    "make directory /var/lib",
    "make directory /var/lib/cni",
    "copy /build/version-1 to /opt/cni/bin/pcnk: the CNI plugin and the agent",
    "link /opt/cni/bin/bridge to /usr/lib/cni/bridge: a reference plugin that was missing",
    "link /opt/cni/bin/host-local to /usr/lib/cni/host-local: a reference plugin that was missing",
    "link /opt/cni/bin/loopback to /usr/lib/cni/loopback: a reference plugin that was missing",
    "set net.ipv4.ip_forward to 1: pods' packets are forwarded",
    "link /usr/lib/cni/pcnk to /opt/cni/bin/pcnk: containerd is configured to look there",
    "link /usr/local/bin/pcnk to /opt/cni/bin/pcnk: the command line",
    "make directory /etc/sysctl.d",
    "write /etc/sysctl.d/90-pcnk.conf: the same after a reboot",
    "write /etc/systemd/network/10-pcnk.network: systemd-networkd keeps away from pcnk's devices",
    "make directory /etc/pcnk",
    "write /etc/pcnk/config.yaml: settings of the agent",
    "write /etc/systemd/system/pcnk.service: the agent as a service",
    "run systemctl daemon-reload: systemd reads the unit",
    "run systemctl enable pcnk.service: it starts with the system",
    "run systemctl restart pcnk.service: the agent starts, or restarts",
  ]);
});

Deno.test("planInstall() finds nothing to do after an installation, on every kind of machine", () => {
  for (const [live, systemd, noAgent] of [[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]]) {
    using machine = debianMachine();
    Object.assign(machine, { live: !!live, systemd: !!systemd });
    const given = options(machine, { noAgent: !!noAgent });
    assert.ok(machine.install(given).steps.length > 5);
    assert.deepEqual(words(machine, given), [], `live ${live}, systemd ${systemd}`);
    machine.uninstall({ ...REMOVAL, all: true });
    assert.ok(words(machine, given).length > 5, "the plan sees what is missing");
  }
});

Deno.test("planInstall() after an upgrade, a changed setting, an agent that ended: that alone", () => {
  using machine = debianMachine();
  machine.install(options(machine));
  const restart = [
    "run systemctl daemon-reload: systemd reads the unit",
    "run systemctl restart pcnk.service: the agent starts, or restarts",
  ];
  const upgraded = options(machine, { executable: machine.executable("version 2") });
  assert.deepEqual(words(machine, upgraded), [
    "copy /build/version-2 to /opt/cni/bin/pcnk: the CNI plugin and the agent, replaced",
    ...restart,
  ]);
  machine.install(upgraded);
  const settings = new Map([["routing", "direct"]]);
  assert.deepEqual(words(machine, { ...upgraded, settings }), [
    "write /etc/pcnk/config.yaml: settings of the agent",
    ...restart,
  ]);
  machine.agent = undefined;
  assert.deepEqual(words(machine, upgraded), [
    "run systemctl start pcnk.service: the agent does not run",
  ]);
  Deno.chmodSync(machine.at("/opt/cni/bin/pcnk"), 0o644);
  assert.match(words(machine, upgraded)[0]!, /^copy .* replaced$/);
});

Deno.test("an installation that was killed at any step is completed by the next one, and taken away whole", () => {
  using model = debianMachine();
  model.install(options(model));
  const whole = model.snapshot();
  const steps = 20;
  for (let at = 0; at < steps; at++) {
    for (const when of ["before", "after"] as const) {
      using machine = debianMachine();
      const before = machine.snapshot();
      machine.install(options(machine), { at, when });
      machine.install(options(machine));
      assert.deepEqual(machine.snapshot(), whole, `killed ${when} step ${at}`);
      assert.equal(machine.agent, machine.wouldRun(), `the agent after step ${at}`);
      assert.deepEqual(words(machine, options(machine)), []);
      machine.uninstall(REMOVAL);
      assert.deepEqual(machine.snapshot(), before, `removed, killed ${when} step ${at}`);
    }
  }
});

Deno.test("an upgrade that was killed at any step is completed: the agent that runs is the new one", () => {
  for (let at = 0; at < 3; at++) {
    for (const when of ["before", "after"] as const) {
      using machine = debianMachine();
      machine.install(options(machine));
      const upgrade = options(machine, { executable: machine.executable("version 2") });
      machine.install(upgrade, { at, when });
      machine.install(upgrade);
      assert.match(machine.agent ?? "", /^version 2/, `killed ${when} step ${at}`);
      assert.deepEqual(words(machine, upgrade), []);
    }
  }
});

Deno.test("a removal after an installation that was killed leaves what was there before", () => {
  for (let at = 0; at < 20; at++) {
    for (const when of ["before", "after"] as const) {
      using machine = debianMachine();
      const before = machine.snapshot();
      machine.install(options(machine), { at, when });
      machine.uninstall(REMOVAL);
      assert.deepEqual(machine.snapshot(), before, `killed ${when} step ${at}`);
      assert.equal(machine.sysctls["net/ipv4/ip_forward"], "0");
      assert.equal(machine.agent, undefined);
    }
  }
});

Deno.test("planInstall() says what keeps it from working, and what the agent would wait for", () => {
  using machine = debianMachine();
  Deno.removeSync(machine.at("/usr/lib/cni"), { recursive: true });
  const { problems, notes } = machine.plan(options(machine));
  assert.match(problems.join(), /^bridge, host-local, loopback not in \/opt\/cni\/bin: /);
  assert.match(notes.join(), /\/etc\/pcnk\/kubeconfig is not there/);
  const nothing = machine.plan(options(machine, { settings: new Map() }));
  assert.match(nothing.notes.join(), /pcnk install --kubeconfig FILE, or --set manifests=DIR/);
  machine.put("/etc/pcnk/kubeconfig", "");
  machine.put("/etc/pcnk/config.yaml", "kubeconfig: /etc/pcnk/kubeconfig\nmtuu: 9000\n");
  machine.put("/opt/cni/bin/pcnk/x", "");
  const later = machine.plan(options(machine, { settings: new Map() }));
  assert.deepEqual(later.problems.filter((one) => !one.startsWith("bridge")), [
    "/opt/cni/bin/pcnk is a directory: remove it",
    '/etc/pcnk/config.yaml:2: unknown key "mtuu"; did you mean mtu?',
  ]);
  assert.doesNotMatch(later.notes.join(), /not there|not told/);
});

Deno.test("planInstall() asks whether a newer pcnk made the state, where the configuration has it", () => {
  using machine = debianMachine();
  const asked: string[][] = [];
  machine.newerState = (...paths) => {
    asked.push(paths);
    return "map/sessions is of schema 9";
  };
  const given = (...pairs: [string, string][]) => options(machine, { settings: new Map(pairs) });
  assert.deepEqual(machine.plan(given()).problems, ["map/sessions is of schema 9"]);
  machine.put("/etc/pcnk/config.yaml", "bpffs: /run/bpf\nstateDir: /run/state\n");
  machine.plan(given());
  machine.plan(given(["bpffs", "/run/other"]));
  assert.deepEqual(asked, [
    ["/sys/fs/bpf/pcnk", "/run/pcnk"],
    ["/run/bpf", "/run/state"],
    ["/run/other", "/run/state"],
  ]);
});

Deno.test("planInstall() leaves files of others where its links belong, and plugins that are there", () => {
  using machine = debianMachine();
  machine.put("/usr/local/bin/pcnk", "another tool's script");
  machine.put("/opt/cni/bin/bridge", "another bridge", 0o755);
  const { steps, notes } = machine.plan(options(machine));
  const paths = steps.map((step) => "path" in step ? step.path : "");
  assert.ok(!paths.includes("/usr/local/bin/pcnk") && !paths.includes("/opt/cni/bin/bridge"));
  assert.ok(paths.includes("/opt/cni/bin/host-local"));
  assert.match(notes.join("\n"), /\/usr\/local\/bin\/pcnk is there already and stays/);
});

Deno.test("planInstall() for a DaemonSet copies plugins, and renews only its own copies", () => {
  using machine = debianMachine();
  machine.put("/opt/cni/bin/host-local", "the distribution's", 0o755);
  const given = options(machine, { noAgent: true, settings: new Map() });
  machine.install(given);
  assert.equal(machine.text("/opt/cni/bin/bridge"), "Debian's bridge");
  assert.equal(machine.find("/etc/pcnk").kind, "nothing");
  assert.deepEqual(machine.ran, []);
  for (const name of ["bridge", "host-local", "loopback"]) {
    machine.put(`/usr/lib/cni/${name}`, `a newer ${name}`, 0o755);
  }
  machine.put("/opt/cni/bin/loopback", "another tool's", 0o755);
  assert.deepEqual(words(machine, given), [
    "copy /usr/lib/cni/bridge to /opt/cni/bin/bridge: a newer reference plugin",
  ]);
});

Deno.test("containerdFolders() reads both spellings, and nothing that is commented out", () => {
  assert.deepEqual(containerdFolders('  bin_dir = "/usr/lib/cni"\n#bin_dir = "/x"\n'), [
    "/usr/lib/cni",
  ]);
  assert.deepEqual(containerdFolders("bin_dirs = ['/a', '/b']\nbin_dir = '/a'"), ["/a", "/b"]);
  assert.deepEqual(containerdFolders(""), []);
});
