/** A pod's hostPorts on a lab: from everywhere, without iptables, and what `pcnk get` shows of them. */
import assert from "node:assert/strict";
import { labTest, pcnkOn } from "./support/lab.ts";

/** Asks by TCP or UDP; prints the reply. */
const ASK = `
import socket, sys
proto, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM)
s.settimeout(20)
if proto == "udp" and len(sys.argv) > 4:
    s.sendto(b"x", (host, port))
    reply, peer = s.recvfrom(2000)
    assert peer == (host if host != "localhost" else "127.0.0.1", port), peer
else:
    s.connect((host, port))
    s.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n" if proto == "tcp" else b"x")
    reply = s.recv(2000)
print(reply.decode())
`;

labTest("a hostPort is reached from everywhere, until its pod goes", {
  name: "thp",
  nodes: 2,
  pods: 1,
}, async (lab) => {
  const portMappings = (["tcp", "udp"] as const).map((protocol) => ({
    hostPort: 8080,
    containerPort: 8080,
    protocol,
  }));
  const web = await lab.addPod("node1", "web", portMappings);
  const node = lab.node("node1").address;
  const ask = (from: string, ...args: string[]) =>
    lab.output(from, ["python3", "-c", ASK, ...args]);
  const from = ["outside", "pod1-1", "pod2-1", "web", "node1", "node2"];
  const asked: [string, string][] = from.map((source) => [source, node]);
  for (const host of ["127.0.0.1", "localhost", "127.0.0.9"]) asked.push(["node1", host]);
  for (const [source, host] of asked) {
    for (const how of [["tcp", host, "8080"], ["udp", host, "8080"], ["udp", host, "8080", "to"]]) {
      const { stdout, stderr } = await ask(source, ...how);
      assert.match(stdout, /\bweb\b/, `${source} ${how.join(" ")}: ${stderr}`);
    }
  }
  const shown = await pcnkOn(lab, "get", "hostports");
  assert.match(shown.stdout, /^0\.0\.0\.0:8080 +TCP +default\/web +10\.244\.1\.\d+:8080 +-$/m);
  const rules = await lab.output("node1", ["nft", "list", "ruleset"]);
  assert.doesNotMatch(rules.stdout, /HOSTPORT|8080/);

  // Another agent keeps it, and the data plane needs none.
  await lab.stopAgent("node1", true);
  assert.match((await ask("outside", "tcp", node, "8080")).stdout, /\bweb\b/);
  await lab.startAgent("node1");
  assert.match((await ask("outside", "udp", node, "8080")).stdout, /\bweb\b/);

  await assert.rejects(
    lab.addPod("node1", "second", portMappings.slice(0, 1)),
    /hostPort 0\.0\.0\.0:8080\/tcp is taken by pod default\/web/,
  );
  await lab.deletePod("web");
  const { code, stderr } = await ask("node1", "tcp", node, "8080");
  assert.deepEqual([code, /refused/i.test(stderr)], [1, true], stderr);
  assert.notEqual(web.address, "");
});
