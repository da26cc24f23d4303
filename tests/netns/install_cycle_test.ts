import assert from "node:assert/strict";
import * as needs from "../support/needs.ts";
import { Sandbox } from "../support/sandbox.ts";
import { TestMachine } from "./install/machine.ts";
import { addPod, CONFIG, install, PCNK, startAgent } from "./install/node.ts";

const ignore = !needs.root() || !needs.file("/usr/lib/cni/bridge") || !needs.file("dist/pcnk");

/** A machine that was in use before: strict filters, no forwarding, another tool's things. */
async function usedMachine(sandbox: Sandbox): Promise<TestMachine> {
  const machine = await TestMachine.start(sandbox);
  machine.shell(`set -e
    sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.up0.rp_filter=1
    sysctl -qw net.ipv4.ip_local_port_range='20000 60999' net.ipv4.ip_local_reserved_ports=20080
    ip rule add fwmark 7 lookup 77
    nft 'add table inet mine; add chain inet mine c; add rule inet mine c tcp dport 22 accept'
    ip link add foreign0 type vxlan external dstport 9999
    ip link set foreign0 up
    ip route add 198.51.100.0/24 via 192.0.2.77 proto 99
    tc qdisc add dev up0 clsact
    tc filter add dev up0 ingress pref 5 protocol ip bpf bytecode '1,6 0 0 4294967295,'
    mkdir -p /etc/cni/net.d /opt/cni/bin
    echo '{"name":"other","plugins":[{"type":"bridge"}]}' >/etc/cni/net.d/99-other.conflist
    touch /opt/cni/bin/other
  `);
  return machine;
}

/** What was said would be done, or was done: without the words that differ, and what stands at the end. */
function lines(said: string, without = /^$/): string[] {
  return said.split("\n").map((line) => line.replace(/^would /, ""))
    .filter((line) => line !== "" && !without.test(line));
}

function test(name: string, fn: () => void | Promise<void>): void {
  Deno.test({ name, ignore, fn });
}

test("install, agent, pod, uninstall: afterwards the machine is as it was, also what is another tool's", async () => {
  using sandbox = new Sandbox();
  await using machine = await usedMachine(sandbox);
  const before = machine.snapshot();
  const dry = install(machine, "--dry-run");
  assert.match(dry, /would copy .* to \/opt\/cni\/bin\/pcnk/);
  assert.deepEqual(machine.snapshot(), before);

  const started = performance.now();
  const said = install(machine);
  assert.ok(performance.now() - started < 5000);
  assert.deepEqual(lines(said, /^installed$/), lines(dry), "--dry-run tells what is done");
  assert.match(
    said,
    /systemd does not run here: have your supervisor run {2}\/opt\/cni\/bin\/pcnk agent/,
  );
  assert.match(install(machine), /installed already: nothing to do/);
  await startAgent(machine);
  addPod(machine, "pod1");
  assert.match(machine.shell("ip route show proto 112"), /10\.244\.2\.0\/24/);
  assert.match(
    machine.shell("sysctl net.ipv4.ip_forward net.ipv4.conf.up0.rp_filter"),
    /= 1\n.*= 2\n/,
  );

  const wouldDo = machine.pcnk("uninstall", "--dry-run");
  assert.match(wouldDo, /would detach lbrp_from_pod from veth/);
  assert.match(wouldDo, /would delete device pcnk0/);
  assert.match(wouldDo, /would release the reserved ports 20000-20079,20081-32767/);
  assert.equal(
    machine.shell("cat /proc/sys/net/ipv4/ip_local_reserved_ports"),
    "20000-32767\n",
  );
  const dryAll = machine.pcnk("uninstall", "--all", "--dry-run");
  const done = machine.pcnk("uninstall", "--all");
  assert.match(done, /note: 1 pod of this node/);
  // The agent's end takes its own file away.
  const ends = /^pcnk is removed from this node$|remove \/run\/pcnk\/agent\.json/;
  assert.deepEqual(lines(done, ends), lines(dryAll, ends));
  machine.shell(
    "ip -n pod1 link del eth0; ip netns del pod1; umount -l /run/netns; rmdir /run/netns",
  );
  assert.deepEqual(machine.snapshot(), before);
  assert.match(machine.pcnk("uninstall"), /nothing of pcnk is here/);
});

test("uninstall after the agent was killed, the state lost and half of it undone by hand", async () => {
  using sandbox = new Sandbox();
  await using machine = await usedMachine(sandbox);
  const before = machine.snapshot();
  install(machine, "attach=clsact");
  const agent = await startAgent(machine);
  addPod(machine, "pod1");
  machine.shell(`kill -9 $(cat /run/pcnk/agent.lock)`);
  await agent.status;
  machine.shell(`
    rm -rf /run/pcnk/attachments ${CONFIG}
    rm /sys/fs/bpf/pcnk/prog/* /sys/fs/bpf/pcnk/map/services
    ip link del pcnk_vxlan
    ip netns del pod1; umount -l /run/netns; rmdir /run/netns
  `);
  machine.pcnk("uninstall", "--all");
  assert.deepEqual(machine.snapshot(), before);
});

test("uninstall keeps what an operator has changed, and says so; --all removes it", async () => {
  using sandbox = new Sandbox();
  await using machine = await usedMachine(sandbox);
  const before = machine.snapshot();
  install(machine);
  machine.shell(`echo '# mine' >>${CONFIG}`);
  assert.match(machine.pcnk("uninstall"), /config\.yaml was changed since and stays/);
  assert.equal(machine.shell(`tail -1 ${CONFIG}`), "# mine\n");
  machine.pcnk("uninstall", "--all");
  assert.deepEqual(machine.snapshot(), before);
});

test("install replaces an executable that is running, and leaves that process alone", async () => {
  using sandbox = new Sandbox();
  await using machine = await TestMachine.start(sandbox);
  machine.shell(`mkdir -p /opt/cni/bin; cp /bin/sleep ${PCNK}`);
  const { child: running } = machine.spawn([PCNK, "600"]);
  install(machine);
  assert.match(machine.shell(`${PCNK} version`), /^pcnk /);
  assert.doesNotThrow(() => running.kill("SIGTERM")); // it still ran
  assert.deepEqual((await running.status).signal, "SIGTERM");
  machine.pcnk("uninstall", "--all");
});
