/** install/standalone-etcd.yaml: its command line starts an etcd that agents can use. */
import { equal } from "node:assert/strict";
import { parseAllDocuments } from "yaml";
import { EtcdClient } from "../../src/cluster/etcd/client.ts";
import { freePort, haveEtcd } from "../support/etcd.ts";

Deno.test({
  name: "install/standalone-etcd.yaml runs an etcd that the agent's client can read and write",
  ignore: !haveEtcd(),
  async fn() {
    const text = Deno.readTextFileSync(
      new URL("../../install/standalone-etcd.yaml", import.meta.url),
    );
    const [service, deployment] = parseAllDocuments(text).map((document) => document.toJS());
    equal(service.spec.ports[0].nodePort, 30901);
    const folder = Deno.makeTempDirSync({ prefix: "pcnk-t-etcd-" });
    const [port, peer] = [freePort(), freePort()];
    const [, ...given] = deployment.spec.template.spec.containers[0].command as string[];
    const args = given.map((word) =>
      word.replace("/data", folder).replaceAll("30901", String(port)).replaceAll(
        "30902",
        String(peer),
      )
        .replace("0.0.0.0", "127.0.0.1")
    );
    const child = new Deno.Command("/usr/bin/etcd", { args, stdout: "null", stderr: "piped" })
      .spawn();
    const client = new EtcdClient({ endpoints: [`http://127.0.0.1:${port}`] });
    // Read to the end: etcd ends when its standard error is a full pipe.
    const ready = Promise.withResolvers<void>();
    const reading = (async () => {
      for await (const line of child.stderr.pipeThrough(new TextDecoderStream())) {
        if (line.includes("ready to serve client requests")) ready.resolve();
      }
      ready.reject(new Error("etcd ended"));
    })();
    try {
      await ready.promise;
      const signal = AbortSignal.timeout(10_000);
      await client.put("/nodes/n/vpcMode", "aws", signal);
      equal((await client.range("/nodes/", signal)).items[0]?.value, "aws");
    } finally {
      client.close();
      child.kill("SIGKILL");
      await child.status;
      await reading;
      Deno.removeSync(folder, { recursive: true });
    }
  },
});
