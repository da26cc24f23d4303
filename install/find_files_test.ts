import assert from "node:assert/strict";
import { findFiles, findSysctls } from "./find_files.ts";
import { hashText } from "./machine.ts";
import { emptyRecord } from "./record.ts";
import { describeRemoval } from "./removal.ts";
import { debianMachine, type FolderMachine } from "./test_support.ts";
import { MARK } from "./texts.ts";

const options = {
  stateDir: "/run/pcnk",
  cniConfDir: "/etc/cni/net.d",
  executable: "/home/me/dist/pcnk",
  all: false,
};

function look(machine: FolderMachine, more: Partial<typeof options> = {}, record = emptyRecord()) {
  const { first, steps, notes } = findFiles(machine, record, { ...options, ...more });
  const words = [...first, ...steps].map((step) => describeRemoval(step).split(":")[0]);
  return { words, notes };
}

Deno.test("findFiles() finds nothing where pcnk never was", () => {
  using machine = debianMachine();
  assert.deepEqual(look(machine), { words: [], notes: [] });
});

Deno.test("findFiles() takes the files of a state directory that pcnk makes, and names others", () => {
  using machine = debianMachine();
  const own = ["agent.json", "agent.lock", "lock", "datapath.json", "sysctls.json.77"];
  const half = ["vpc.json.12", "reserved-ports.json.12"]; // an agent was killed while it wrote them
  for (const name of [...own, ...half, "node-settings.json", "mine.json", "ipam/pcnk/x"]) {
    machine.put(`/run/pcnk/${name}`, "");
  }
  const { words, notes } = look(machine);
  assert.deepEqual(words, [
    "remove /run/pcnk/ipam with its content",
    ...[...own, ...half, "node-settings.json"].sort().map((name) => `remove /run/pcnk/${name}`),
    "remove directory /run/pcnk if it is empty",
  ]);
  assert.deepEqual(notes, ["/run/pcnk holds what is not pcnk's: mine.json"]);
});

Deno.test("findFiles() leaves to other steps what tells of ports and routes that are still to be given back", () => {
  using machine = debianMachine();
  for (const name of ["vpc.json", "reserved-ports.json"]) machine.put(`/run/pcnk/${name}`, "{}");
  assert.deepEqual(look(machine), {
    words: ["remove directory /run/pcnk if it is empty"],
    notes: [],
  });
});

Deno.test("findFiles() takes its own CNI configuration, by what is in it, and tells of others that name pcnk", () => {
  using machine = debianMachine();
  const list = JSON.stringify({ plugins: [{ type: "bridge" }, { type: "pcnk" }] });
  machine.put("/etc/cni/net.d/10-pcnk.conflist", list);
  machine.put("/etc/cni/net.d/10-pcnk.conflist.99", "{"); // half written
  machine.put("/etc/cni/net.d/20-mine.conflist", list);
  const { words, notes } = look(machine);
  assert.deepEqual(words, [
    "remove /etc/cni/net.d/10-pcnk.conflist",
    "remove /etc/cni/net.d/10-pcnk.conflist.99",
  ]);
  assert.match(notes.join(), /^\/etc\/cni\/net\.d\/20-mine\.conflist names pcnk/);
  machine.put("/etc/cni/net.d/10-pcnk.conflist", `{"plugins":[{"type":"ptp"}]}`);
  assert.ok(!look(machine).words.includes("remove /etc/cni/net.d/10-pcnk.conflist"));
});

Deno.test("findFiles() without a record goes by its mark; a changed file and an operator's words stay", () => {
  using machine = debianMachine();
  machine.put("/etc/sysctl.d/90-pcnk.conf", `${MARK}net.ipv4.ip_forward = 1\n`);
  machine.put("/etc/systemd/system/pcnk.service", "[Service]\nExecStart=/bin/mine\n");
  machine.put("/etc/pcnk/config.yaml", "mtu: 1400\n");
  machine.systemd = false;
  const { words, notes } = look(machine);
  assert.deepEqual(words, ["remove /etc/sysctl.d/90-pcnk.conf"]);
  assert.deepEqual(notes, [
    "/etc/systemd/system/pcnk.service was changed since and stays",
    "/etc/pcnk/config.yaml was edited and stays; --all removes it",
  ]);
  assert.ok(look(machine, { all: true }).words.includes("remove /etc/pcnk with its content"));
});

Deno.test("findFiles() takes the executable that runtimes find, not one in a build tree", () => {
  using machine = debianMachine();
  machine.put("/opt/cni/bin/pcnk", "", 0o755);
  machine.put("/home/me/dist/pcnk", "", 0o755);
  assert.deepEqual(look(machine).words, []);
  const installed = look(machine, { executable: "/opt/cni/bin/pcnk" });
  assert.deepEqual(installed.words, ["remove /opt/cni/bin/pcnk"]);
  const record = { ...emptyRecord(), files: { "/srv/cni/pcnk": hashText("") } };
  machine.put("/srv/cni/pcnk", "", 0o755);
  assert.deepEqual(look(machine, {}, record).words, ["remove /srv/cni/pcnk"]);
});

Deno.test("findFiles() leaves a link that leads elsewhere by now", () => {
  using machine = debianMachine();
  const record = emptyRecord();
  record.links["/opt/cni/bin/bridge"] = "/usr/lib/cni/bridge";
  record.links["/opt/cni/bin/portmap"] = "/usr/lib/cni/portmap";
  Deno.symlinkSync("/usr/lib/cni/bridge", machine.at("/opt/cni/bin/bridge"));
  Deno.symlinkSync("/srv/portmap", machine.at("/opt/cni/bin/portmap"));
  assert.deepEqual(look(machine, {}, record).words, ["remove /opt/cni/bin/bridge"]);
});

Deno.test("findFiles() has the service ended before anything else, and the record removed as the last file", () => {
  using machine = debianMachine();
  machine.put("/etc/systemd/system/pcnk.service", `${MARK}[Service]\n`);
  machine.put("/var/lib/cni/pcnk-install.json", "{}");
  const { words } = look(machine, {}, { ...emptyRecord(), directories: ["/var", "/var/lib/cni"] });
  assert.deepEqual(words, [
    "run systemctl disable --now pcnk.service",
    "remove /etc/systemd/system/pcnk.service",
    "run systemctl daemon-reload",
    "remove /var/lib/cni/pcnk-install.json",
    "remove directory /var/lib/cni if it is empty",
    "remove directory /var if it is empty",
  ]);
});

Deno.test("findSysctls() gives parameters their first value back, unless they were set since", () => {
  using machine = debianMachine();
  machine.sysctls = { a: "1", b: "1", c: "7", d: "1" };
  const change = { before: "0", after: "1" };
  const steps = findSysctls(machine, { a: change, c: change }, {
    a: { before: "5", after: "1" },
    b: { before: "2", after: "1" },
    d: { before: "1", after: "1" },
    gone: change,
  });
  const values = steps.map((step) => step.do === "set-sysctl" ? [step.name, step.value] : step.do);
  assert.deepEqual(values, [["a", "0"], ["b", "2"]]);
});
