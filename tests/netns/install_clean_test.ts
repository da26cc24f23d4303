/** `pcnk install --clean`: rules that kube-proxy's own text makes go, on both of netfilter's interfaces, and all others stay. */
import assert from "node:assert/strict";
import { chainRemoval } from "../../install/clean.ts";
import * as needs from "../support/needs.ts";
import { Sandbox } from "../support/sandbox.ts";

/** As kube-proxy 1.20 writes them for one Service, beside a rule of another program. */
const THEIRS = `\
*nat
:KUBE-SERVICES - [0:0]
:KUBE-SVC-NPX46M4PTMTKRN6Y - [0:0]
:KUBE-SEP-A - [0:0]
:KUBE-MARK-MASQ - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m comment --comment "default/kubernetes:https cluster IP" -m tcp --dport 443 -j KUBE-SVC-NPX46M4PTMTKRN6Y
-A KUBE-SVC-NPX46M4PTMTKRN6Y -j KUBE-SEP-A
-A KUBE-SEP-A -s 192.168.0.1/32 -j KUBE-MARK-MASQ
-A KUBE-SEP-A -p tcp -m tcp -j DNAT --to-destination 192.168.0.1:6443
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
COMMIT
`;
const OTHERS = `\
*nat
:MINE - [0:0]
-A POSTROUTING -s 10.9.0.0/24 -j MINE
-A MINE -j MASQUERADE
COMMIT
`;

for (const kind of ["iptables-nft", "iptables-legacy"]) {
  Deno.test({
    name: `chainRemoval() undoes what kube-proxy has written (${kind})`,
    ignore: !(needs.root() && needs.file(`/usr/sbin/${kind}-restore`)),
    async fn() {
      using sandbox = new Sandbox();
      const { name } = sandbox.netns();
      const run = async (command: string, args: string[], input = "") => {
        const argv = ["netns", "exec", name, command, ...args];
        const io = { stdin: "piped", stdout: "piped", stderr: "piped" } as const;
        const child = new Deno.Command("ip", { args: argv, ...io }).spawn();
        const writer = child.stdin.getWriter();
        await writer.write(new TextEncoder().encode(input));
        await writer.close();
        const { code, stdout, stderr } = await child.output();
        const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
        assert.equal(code, 0, text(stderr));
        return text(stdout);
      };
      const rules = async () =>
        (await run(`${kind}-save`, ["-t", "nat"])).split("\n").filter((line) =>
          !line.startsWith("#")
        );
      await run(`${kind}-restore`, ["--noflush"], OTHERS);
      const before = await rules();
      await run(`${kind}-restore`, ["--noflush"], THEIRS);
      assert.ok((await rules()).length > before.length + 8);
      const { input, count } = chainRemoval((await rules()).join("\n"));
      assert.equal(count, 6);
      await run(`${kind}-restore`, ["--noflush"], input);
      assert.deepEqual(await rules(), before);
    },
  });
}
