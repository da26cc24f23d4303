/** An upgrade in place, under a load of which nothing may be lost; the agent has the rights of its systemd unit and no others. */
import assert from "node:assert/strict";
import { CAPABILITIES } from "../../install/texts.ts";
import * as needs from "../support/needs.ts";
import { Sandbox } from "../support/sandbox.ts";
import { TestMachine } from "./install/machine.ts";
import { addPod, install, PCNK, startAgent } from "./install/node.ts";

const ignore = !needs.root() || !needs.file("/usr/lib/cni/bridge") || !needs.file("dist/pcnk") ||
  !needs.file("/usr/bin/setpriv");

const STEADY = new URL("install/steady.py", import.meta.url).pathname;
const NEWER = "/opt/pcnk-newer";

/** Words before a command that leave it what the unit leaves it. */
const asUnit = [
  "setpriv",
  `--bounding-set=-all,${CAPABILITIES.map((name) => name.toLowerCase().replace("cap_", "+"))}`,
  "--no-new-privs",
];

const service = (backend: string) => `
apiVersion: v1
kind: Service
metadata: { name: echo }
spec:
  clusterIP: 10.96.0.10
  ports: [{ name: t, port: 7, targetPort: 7000 }, { name: u, port: 7, targetPort: 7000, protocol: UDP }]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: echo-1, labels: { kubernetes.io/service-name: echo } }
addressType: IPv4
ports: [{ name: t, port: 7000 }, { name: u, port: 7000, protocol: UDP }]
endpoints: [{ addresses: [${backend}] }]
`;

/** What steady.py counts. */
interface Counted {
  sent: number;
  lost: number;
  kept: number;
  fresh: number;
  failed: string[];
  longest_gap_ms: number;
}

Deno.test({
  name:
    "an upgrade in place loses no packet and no connection: restart, kill, and time without an agent",
  ignore,
  async fn() {
    using sandbox = new Sandbox();
    await using machine = await TestMachine.start(sandbox);
    install(machine);
    let agent = await startAgent(machine, ...asUnit);
    addPod(machine, "pod1");
    const backend = addPod(machine, "pod2");
    const inPod = (pod: string, ...words: string[]) =>
      machine.spawn(["ip", "netns", "exec", pod, "python3", STEADY, ...words]);
    await inPod("pod2", "serve", backend, "7000").out.line(/^ready$/);
    machine.shell(`cat >/etc/pcnk/cluster/echo.yaml <<'END'\n${service(backend)}END`);
    machine.shell(
      `for i in $(seq 100); do ${PCNK} get services | grep -q echo && exit; sleep 0.1; done; exit 1`,
    );
    const load = inPod("pod1", "load", "10.96.0.10", "7");
    await load.out.line(/^ready /);

    // Another executable: a byte of the ELF header that nothing reads.
    machine.shell(
      `cp ${PCNK} ${NEWER}; printf x | dd of=${NEWER} bs=1 seek=15 conv=notrunc status=none`,
    );
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      const said = machine.run([NEWER, "install"]).stdout;
      assert.match(said, signal === "SIGTERM" ? /the agent, replaced/ : /nothing to do/);
      agent.kill(signal);
      await agent.status;
      addPod(machine, `added-${signal}`.toLowerCase()); // without an agent
      agent = await startAgent(machine, ...asUnit);
      machine.shell(`cmp /proc/${agent.pid}/exe ${NEWER}`);
    }
    assert.match(machine.shell(`grep CapBnd /proc/${agent.pid}/status`), /:\t[0-9a-f]*[^f0\n]/);

    load.child.kill("SIGTERM");
    const counted: Counted = JSON.parse((await load.out.all()).trim().split("\n").at(-1)!);
    assert.deepEqual({ lost: counted.lost, failed: counted.failed }, { lost: 0, failed: [] });
    assert.ok(
      counted.sent > 1000 && counted.kept > 1000 && counted.fresh > 20,
      JSON.stringify(counted),
    );
    machine.shell("for p in $(ip netns list | cut -d' ' -f1); do ip netns del $p; done");
    machine.pcnk("uninstall", "--all");
    assert.doesNotMatch(machine.shell("tc filter show dev up0 ingress"), /k8sd/);
  },
});
