/** What comes from outside the agent and must not end it: signals, a full disk, no file descriptors, TLS files that do not fit. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { umount } from "../../src/linux/mount.ts";
import { makeCertificates } from "../../src/cluster/kube/proxy_support.ts";
import { type AgentPlace, serviceYaml, test } from "./support/agent.ts";

const web = (...endpoints: string[]) => serviceYaml("web", "10.96.0.1", endpoints);

/** Runs a command in the place's namespace; returns what it prints. */
async function inside({ netns }: AgentPlace, ...args: string[]): Promise<string> {
  const { stdout } = await new Deno.Command("nsenter", { args: [`--net=${netns}`, ...args] })
    .output();
  return new TextDecoder().decode(stdout);
}

const health = (place: AgentPlace) =>
  inside(place, "curl", "-s", "-m", "30", "http://127.0.0.1:9879/healthz");

async function run(command: string, ...args: string[]) {
  const { success } = await new Deno.Command(command, { args }).output();
  assert.ok(success, [command, ...args].join(" "));
}

const prlimit = (pid: number, limit: string) => run("prlimit", `--pid=${pid}`, `--nofile=${limit}`);

test("agent outlives signals, a full state directory and a lack of descriptors", async (place) => {
  await inside(place, "ip", "link", "set", "lo", "up");
  Deno.mkdirSync(place.stateDir);
  await run("mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "none", place.stateDir);
  const ballast = join(place.stateDir, "ballast");
  try {
    try {
      Deno.writeFileSync(ballast, new Uint8Array(1 << 20));
    } catch {
      // It is full, as it should be.
    }
    place.write("web.yaml", web("10.1.0.1"));
    const agent = await place.start();
    const full = agent.lines.filter(({ event }) => event === "StateDir");
    assert.match(full.at(-1)!.msg, /agent\.json cannot be written: .*os error 28/);
    Deno.removeSync(ballast);
    await agent.log(({ msg }) => msg.endsWith("agent.json is written now"));

    for (const signal of ["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGPIPE"] as const) {
      Deno.kill(agent.pid, signal);
    }
    await agent.log(({ msg }) => msg.startsWith("signal ignored"));

    await prlimit(agent.pid, "5:4096");
    const starved = health(place);
    agent.skip();
    place.write("web.yaml", web("10.1.0.2"));
    await agent.log(({ event }) => event === "SourceProblem");
    await prlimit(agent.pid, "4096:4096");
    assert.match(await starved, /\[\+\]/); // its connection waited
    await agent.log(({ msg, level }) => level === "info" && /in order again/.test(msg));
    place.write("web.yaml", web("10.1.0.3"));
    do await agent.updated(); // the first may be of the file before
     while (place.services()["10.96.0.1:80/6"]?.[0] !== "10.1.0.3:8080");
    assert.equal((await agent.end("SIGTERM")).code, 0, agent.transcript());
  } finally {
    umount(place.stateDir, { lazy: true });
  }
});

test("agent outlives a key that does not belong to its certificate", async (place) => {
  const { dir } = place;
  const client = makeCertificates(dir, "client"), other = makeCertificates(dir, "other");
  Deno.writeTextFileSync(join(dir, "tls.crt"), client.cert);
  Deno.writeTextFileSync(join(dir, "tls.key"), other.key);
  const config = {
    "current-context": "c",
    contexts: [{ name: "c", context: { cluster: "k", user: "u" } }],
    clusters: [{ name: "k", cluster: { server: "https://127.0.0.1:1" } }],
    users: [{ name: "u", user: { "client-certificate": "tls.crt", "client-key": "tls.key" } }],
  };
  Deno.writeTextFileSync(join(dir, "kubeconfig"), JSON.stringify(config));
  place.source = ["--kubeconfig", join(dir, "kubeconfig")];
  const etcd = ["--etcd-url", "https://127.0.0.1:1", "--etcd-ca", client.ca];
  const files = ["--etcd-cert", join(dir, "tls.crt"), "--etcd-key", join(dir, "tls.key")];
  const agent = place.spawn(...etcd, ...files);
  const says = (what: RegExp) => agent.log(({ msg }) => what.test(msg));
  await says(/tls\.key: the key does not belong to the certificate in .*tls\.crt; .* in effect/);
  await says(/tls\.key: the key does not belong to the certificate in .*tls\.crt/);
  assert.equal((await agent.end("SIGTERM")).code, 0, agent.transcript());
  assert.equal(agent.errors, "");
});
