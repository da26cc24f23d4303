/** `pcnk node` against a real etcd and etcdctl. */
import { deepEqual, equal, match } from "node:assert/strict";
import { Etcd, haveEtcd } from "../support/etcd.ts";
import { runPcnk } from "../support/pcnk.ts";

const ignore = !haveEtcd();

function test(name: string, fn: () => void | Promise<void>): void {
  Deno.test({ name, ignore, fn });
}

test("pcnk node set and get speak of the same keys as etcdctl", async () => {
  await using etcd = await Etcd.start();
  const at = ["--etcd-url", etcd.url];
  const set = await runPcnk(
    "node",
    "set",
    "worker1",
    "directRouting=true",
    "publicIP=198.51.100.7",
    ...at,
  );
  deepEqual(set, {
    code: 0,
    stderr: "",
    stdout: "worker1: directRouting is true\nworker1: publicIP is 198.51.100.7\n",
  });
  const said = await etcd.ctl("get", "--prefix", "/nodes/");
  equal(said, "/nodes/worker1/directRouting\ntrue\n/nodes/worker1/publicIP\n198.51.100.7\n");
  await etcd.ctl("put", "/nodes/worker10/vpcMode", "aws");
  await etcd.ctl("put", "/nodes/worker10/directRouting", "maybe");
  const table = await runPcnk("node", "get", ...at);
  match(
    table.stdout,
    /^NODE +DIRECT-ROUTING +VPC-MODE +PUBLIC-IP\nworker1 +true +- +198\.51\.100\.7\nworker10 +"maybe" \(bad\) +aws +-\n$/,
  );
  const { stdout } = await runPcnk("node", "get", "worker10", "-o", "json", ...at);
  deepEqual(JSON.parse(stdout), {
    items: [{ name: "worker10", vpcMode: "aws", directRouting: "maybe" }],
  });
  const yaml = await runPcnk("node", "get", "worker1", "-o", "yaml", ...at);
  equal(
    yaml.stdout,
    'items:\n  - name: worker1\n    directRouting: "true"\n    publicIP: 198.51.100.7\n',
  );
  await runPcnk("node", "set", "worker1", "publicIP=", ...at);
  equal(
    await etcd.ctl("get", "--prefix", "/nodes/worker1/"),
    "/nodes/worker1/directRouting\ntrue\n",
  );
  const missing = await runPcnk("node", "get", "worker2", ...at);
  deepEqual([missing.code, missing.stderr], [
    1,
    "pcnk: node worker2: etcd has no settings of it; pcnk node get lists those that have some\n",
  ]);
});

test("pcnk node says what is wrong with a call before it asks anybody, and what is wrong with etcd", async () => {
  const at = ["--etcd-url", "http://127.0.0.1:1"];
  const wrong: [string[], RegExp][] = [
    [
      ["set", "n", "directrouting=true", ...at],
      /^pcnk: unknown setting "directrouting"; did you mean directRouting\?$/m,
    ],
    [
      ["set", "n", "directRouting=yes", ...at],
      /^pcnk: directRouting must be true or false, not "yes"$/m,
    ],
    [
      ["set", "n", "vpcMode=gcp", ...at],
      /^pcnk: vpcMode must be aws, or empty for off, not "gcp"$/m,
    ],
    [
      ["set", "n", "publicIP=1.2.3", ...at],
      /^pcnk: publicIP must be an IPv4 address of a host \(it has 3 numbers instead of 4\), not "1\.2\.3"$/m,
    ],
    [["set", "n", "vpcMode", ...at], /write vpcMode=VALUE, or vpcMode= to remove it$/m],
    [
      ["set", "N/x", "vpcMode=aws", ...at],
      /'N\/x' is invalid for argument 'node'\. It must be a node name/,
    ],
    [
      ["get", "--etcd-url", "nowhere"],
      /argument 'nowhere' is invalid\. It must be URLs of servers/,
    ],
    [["get", "--etcd-ca", "/ca"], /options of etcd need --etcd-url/],
    [["get", "--kubeconfig", "/k", ...at], /give either --kubeconfig or --etcd-url/],
  ];
  for (const [args, message] of wrong) {
    const { code, stderr } = await runPcnk("node", ...args);
    match(stderr, message);
    equal(code, 2, args.join(" "));
  }
  const away = await runPcnk("node", "get", ...at);
  match(away.stderr, /^pcnk: etcd http:\/\/127\.0\.0\.1:1 cannot be reached: .*refused/);
  equal(away.code, 1);
  const none = await runPcnk("node", "get", "--kubeconfig", "/nonexistent");
  deepEqual([none.code, none.stderr], [1, "pcnk: /nonexistent: is not there\n"]);
});
