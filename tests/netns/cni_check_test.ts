/** CHECK of the CNI plugin on the real kernel. */
import assert from "node:assert/strict";
import { attach, detach } from "../../src/bpf/attach.ts";
import { closeFd } from "../../src/linux/libc.ts";
import { verdictProgram } from "../support/programs.ts";
import { both, destroy, entryOf, ok, test } from "./cni/cases.ts";

both("CHECK is content with what ADD did, right after it and as often as it is asked", (world) => {
  const pods = [world.pod("10.1.0.2"), world.pod("10.1.0.3", { bridged: false })];
  for (const pod of pods) world.add(pod);
  for (const pod of [...pods, ...pods]) ok(world.call("CHECK", pod));
});

both("CHECK names every difference from what ADD set up", (world) => {
  const pod = world.pod("10.1.0.2");
  world.add(pod);
  const { endpoints } = world.plane.maps;
  const key = { addr: "10.1.0.2" };
  const other = verdictProgram("lbrp_from_pod");
  const hook = (direction: "ingress" | "egress") => ({
    bpffs: world.bpffs,
    ifindex: direction === "ingress" ? pod.hostIfindex : world.bridge,
    direction,
  });
  const off = (direction: "ingress" | "egress") =>
    world.wired(({ nl }) => detach({ ...hook(direction), nl }));
  const record = `${world.stateDir}/attachments/${pod.containerID}@eth0.json`;
  const faults: [RegExp, () => void][] = [
    [/^lbrp_from_pod is not attached to ingress of veth2$/, () => off("ingress")],
    [/^lbrp_to_pod is not attached to egress of pcnk0$/, () => off("egress")],
    [/^lbrp_from_pod is not attached/, () => {
      world.wired(({ nl }) =>
        attach({ ...hook("ingress"), nl, programFd: other, name: "lbrp_from_pod", mode: "auto" })
      );
    }],
    [/^the bridge's port veth2: isolation is off$/, () => {
      const switches = { isolated: false, learning: false, flood: false };
      world.node.nl.setPort(pod.hostIfindex, switches);
    }],
    [/^02:.* is not in the bridge's table as the address behind veth2$/, () => {
      const { ifindex, mac } = entryOf(pod);
      world.node.nl.delFdb({ ifindex, mac, master: true });
    }],
    [/^10\.1\.0\.2 in the endpoints map: it is missing$/, () => endpoints.delete(key)],
    [/ifindex is 77, expected \d+$/, () => endpoints.set(key, { ...entryOf(pod), ifindex: 77 })],
    [/mac is 02:.*, expected 02:/, () => {
      endpoints.set(key, { ...entryOf(pod), mac: "02:ff:ff:ff:ff:ff" });
    }],
    [/gateway is 10\.1\.0\.9, expected 10\.1\.0\.1$/, () => {
      endpoints.set(key, { ...entryOf(pod), gateway: "10.1.0.9" });
    }],
    [/^the attachment has no record$/, () => Deno.removeSync(record)],
    [/^the attachment has no record$/, () => Deno.writeTextFileSync(record, "{")],
    [/^the record: mac is /, () => {
      const inside = pod.netns.nl.link("eth0")!;
      pod.netns.nl.setLink(inside.index, { mac: "02:00:00:00:00:99" });
    }],
  ];
  for (const [expected, damage] of faults) {
    damage();
    const { code, out } = world.call("CHECK", pod);
    assert.deepEqual([code, out.code], [1, 100], String(expected));
    assert.match(out.details, expected);
    world.add(pod); // mends everything
    ok(world.call("CHECK", pod));
  }
  pod.prevResult.ips.push({ address: "10.1.0.7/24", interface: 2 });
  const { out } = world.call("CHECK", pod);
  assert.match(out.details, /the record has 10\.1\.0\.2, prevResult 10\.1\.0\.2, 10\.1\.0\.7/);
  assert.match(out.details, /10\.1\.0\.7 in the endpoints map: it is missing/);
  closeFd(other);
});

test("CHECK of a pod that is gone, or without a data plane, is an error", (world) => {
  const pod = world.pod("10.1.0.2");
  world.add(pod);
  const bpffs = `${world.dir}/nowhere`;
  assert.equal(world.call("CHECK", pod, { config: { bpffs } }).out.code, 11);
  destroy(world, pod);
  assert.equal(world.call("CHECK", pod).out.code, 4);
});
