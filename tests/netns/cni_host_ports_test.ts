/** hostPorts by the CNI plugin on the real kernel: what ADD enters, DEL, GC and CHECK follow, and what is refused. */
import assert from "node:assert/strict";
import { PROTO, SCOPE } from "../../src/bpf/layout.ts";
import { destroy, ok, test } from "./cni/cases.ts";
import type { CniWorld, WiredPod } from "./cni/world.ts";

const web = { hostPort: 8080, containerPort: 80, protocol: "tcp" };
const dns = { hostPort: 5353, containerPort: 53, protocol: "udp", hostIP: "127.0.0.1" };
const mapped = (...portMappings: unknown[]) => ({ config: { runtimeConfig: { portMappings } } });

const ports = ({ plane }: CniWorld) =>
  plane.maps.host_ports.entries().map(([{ addr, port, proto }, to]) =>
    `${addr}:${port}/${proto} ${to.addr}:${to.port}`
  ).sort();

function refused(world: CniWorld, pod: WiredPod, mappings: unknown[], message: RegExp) {
  const before = [world.snapshot(), ports(world)];
  const { code, out } = world.call("ADD", pod, mapped(...mappings));
  assert.deepEqual([code, out.code], [1, 104], JSON.stringify(out));
  assert.match(out.msg, message);
  assert.deepEqual([world.snapshot(), ports(world)], before);
}

test("ADD enters hostPorts, CHECK compares them, DEL removes them", (world) => {
  const [pod, other] = ["10.1.0.2", "10.1.0.3"].map((ip) => world.pod(ip));
  world.add(pod!, mapped(web, dns));
  world.add(other!, mapped({ ...web, hostPort: 8081 }));
  const kept = ["0.0.0.0:8081/6 10.1.0.3:80"];
  assert.deepEqual(ports(world), [
    "0.0.0.0:8080/6 10.1.0.2:80",
    ...kept,
    "127.0.0.1:5353/17 10.1.0.2:53",
  ]);
  ok(world.call("CHECK", pod, mapped(web, dns)));
  ok(world.call("CHECK", pod));
  world.plane.maps.host_ports.delete({ addr: "127.0.0.1", port: 5353, proto: PROTO.UDP });
  const { out } = world.call("CHECK", pod);
  assert.match(out.details, /hostPort 127\.0\.0\.1:5353\/udp is missing, expected 10\.1\.0\.2:53/);
  world.add(pod!, mapped(web)); // as after a reboot of the runtime
  assert.deepEqual(ports(world), ["0.0.0.0:8080/6 10.1.0.2:80", ...kept]);
  ok(world.call("DEL", pod));
  ok(world.call("DEL", pod));
  assert.deepEqual(ports(world), kept);
  world.add(pod!);
  assert.deepEqual(ports(world), kept);
});

test("ADD refuses a hostPort of another pod or Service, by address and protocol, and changes nothing", (world) => {
  const [pod, other] = ["10.1.0.2", "10.1.0.3"].map((ip) => world.pod(ip));
  const CNI_ARGS = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web";
  world.add(pod!, { ...mapped(web, dns), env: { CNI_ARGS } });
  refused(world, other!, [web], /^hostPort 0\.0\.0\.0:8080\/tcp is taken by pod shop\/web/);
  refused(world, other!, [{ ...web, hostIP: "192.0.2.1" }], /192\.0\.2\.1:8080\/tcp is taken/);
  refused(world, other!, [{ ...dns, hostIP: "" }], /0\.0\.0\.0:5353\/udp is taken/);
  const service = {
    id: 7,
    first: 0,
    count: 0,
    total_weight: 0,
    affinity_seconds: 0,
    flags: 0,
    table: 0,
  };
  const nodePort = { addr: "0.0.0.0", port: 30080, proto: PROTO.TCP, scope: SCOPE.EXTERNAL };
  world.plane.maps.services.set(nodePort, service);
  const taken = { ...web, hostPort: 30080 };
  refused(
    world,
    other!,
    [{ ...web, hostPort: 9000 }, taken],
    /30080\/tcp is taken by the NodePort/,
  );
  world.add(other!, mapped({ ...web, protocol: "udp" }, { ...dns, hostIP: "127.0.0.2" }));
  assert.equal(ports(world).length, 4);
});

test("a hostPort of a pod that went without DEL is free, and a late DEL leaves it to its new pod", (world) => {
  const [gone, next] = ["10.1.0.2", "10.1.0.3"].map((ip) => world.pod(ip));
  world.add(gone!, mapped(web));
  destroy(world, gone!);
  world.plane.maps.endpoints.delete({ addr: "10.1.0.2" }); // as the agent does
  world.add(next!, mapped(web));
  ok(world.call("DEL", gone));
  assert.deepEqual(ports(world), ["0.0.0.0:8080/6 10.1.0.3:80"]);
});

test("DEL without a record and GC remove hostPorts too", (world) => {
  const [one, two, kept] = ["10.1.0.2", "10.1.0.3", "10.1.0.4"].map((ip) => world.pod(ip));
  for (const [i, pod] of [one, two, kept].entries()) {
    world.add(pod!, mapped({ ...web, hostPort: 9000 + i }));
  }
  Deno.removeSync(`${world.stateDir}/attachments/${one!.containerID}@eth0.json`);
  ok(world.call("DEL", one));
  ok(world.gc([kept!]));
  assert.deepEqual(ports(world), ["0.0.0.0:9002/6 10.1.0.4:80"]);
});
