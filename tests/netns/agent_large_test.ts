/**
 * Large and odd manifests, and more Services than the maps hold: /healthz is asked all the while. What counts is how long the agent's
 * thread worked between two answers, by the kernel's account: other load of the machine does not lengthen that.
 */
import assert from "node:assert/strict";
import { linesOf } from "../support/lines.ts";
import { type AgentPlace, type AgentProcess, serviceYaml, test } from "./support/agent.ts";

/**
 * Milliseconds of work between two answers, at most: as long as a kubelet waits for a probe, if not configured. A machine of CI needed
 * up to 251, others 130 to 206; before reading was sliced, it took minutes.
 */
const mostMs = 1000;

/** Asks without end; for each line of input prints what was since the last one: answers, and the most work between two. */
const ASK = `
import json, select, socket, sys, time
stat = f"/proc/{sys.argv[1]}/task/{sys.argv[1]}/schedstat"
work = lambda: int(open(stat).read().split()[0]) / 1e6
answers, most = 0, 0
while True:
    before = work()
    s = socket.create_connection(("127.0.0.1", 9879), 60)
    s.sendall(b"GET /livez HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n")
    head = s.recv(4096)
    s.close()
    assert head.startswith(b"HTTP/1.1 "), head
    answers += 1
    most = max(most, work() - before)
    if select.select([sys.stdin], [], [], 0.01)[0]:
        if sys.stdin.readline() == "": break
        print(json.dumps([answers, most]), flush=True)
        answers, most = 0, 0
`;

class Asker {
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: AsyncIterator<string>;

  constructor({ netns }: AgentPlace, { pid }: AgentProcess) {
    this.#child = new Deno.Command("nsenter", {
      args: [`--net=${netns}`, "python3", "-c", ASK, `${pid}`],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    this.#input = this.#child.stdin.getWriter();
    this.#lines = linesOf(this.#child.stdout)[Symbol.asyncIterator]();
  }

  /** Since the last call. */
  async take(): Promise<[answers: number, workMs: number]> {
    await this.#input.write(new TextEncoder().encode("\n"));
    return JSON.parse((await this.#lines.next()).value);
  }

  async [Symbol.asyncDispose]() {
    await this.#input.close();
    await this.#child.status;
  }
}

const address = (net: number, i: number) => `${net}.${i >> 16 & 255}.${i >> 8 & 255}.${i & 255}`;
const service = (i: number, ports: object[] = [{ port: 80 }]) => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name: `s${i}` },
  spec: { clusterIP: address(11, i + 1), ports },
});
const slice = (i: number, of: number, endpoints: number) => ({
  apiVersion: "discovery.k8s.io/v1",
  kind: "EndpointSlice",
  metadata: { name: `e${i}`, labels: { "kubernetes.io/service-name": `s${of}` } },
  addressType: "IPv4",
  ports: [{ port: 80 }],
  endpoints: Array.from(
    { length: endpoints },
    (_, j) => ({ addresses: [address(12, i * endpoints + j + 1)] }),
  ),
});
const list = (items: object[]) => JSON.stringify({ apiVersion: "v1", kind: "List", items });
const many = <T>(count: number, make: (i: number) => T) =>
  Array.from({ length: count }, (_, i) => make(i));

/** Files, and the problem that each has; undefined: none. */
const files: Record<string, { text: () => string; problem?: RegExp }> = {
  "nested.yaml": {
    text: () => "a:\n" + many(45_000, (i) => `${" ".repeat(1 + i % 40)}k${i}:\n`).join(""),
    problem: /kind: is missing/,
  },
  "blocks.yaml": {
    text: () => `%YAML 1.2\n---\na:\n${"- b\n".repeat(370_000)}`,
    problem: /kind: is missing/,
  },
  "documents.yaml": {
    text: () => `%YAML 1.2\n${many(130_000, (i) => `---\n${i}\n`).join("")}`,
    problem: /must be an object/,
  },
  "aliases.yaml": {
    text: () =>
      `apiVersion: v1\nkind: List\nx: &s ${JSON.stringify(slice(0, 0, 1000))}\n` +
      `y: &l {apiVersion: v1, kind: List, items: [${Array(40).fill("*s")}]}\n` +
      `items: [${Array(50).fill("*l")}]\n`,
    problem: /is an alias of an object before it/,
  },
  "ports.yaml": {
    text: () => JSON.stringify(service(0, many(20_000, (i) => ({ name: `p${i}`, port: 1 + i })))),
    problem: /spec\.ports: has 20000 entries: at most 4096 are served/,
  },
  "endpoints.json": {
    text: () => list([...many(60, (i) => service(i)), ...many(600, (i) => slice(i, i % 60, 1000))]),
  },
};

test("agent answers while it reads large and odd manifests, and more Services than there is room for", async (place) => {
  const flags = ["--map-sizes-services", "4096", "--map-sizes-backends", "131072"];
  await new Deno.Command("ip", { args: ["-n", place.name, "link", "set", "lo", "up"] }).output();
  place.write("a.yaml", serviceYaml("web", "10.96.0.1", ["10.1.0.1"]));
  const agent = await place.start(...flags);
  await using asker = new Asker(place, agent);
  await asker.take();
  const found: string[] = [];
  const took = async (name: string) => {
    const [answers, workMs] = await asker.take();
    found.push(`${name}: ${answers} answers, ${Math.round(workMs)} ms`);
    assert.ok(answers > 0 && workMs < mostMs, found.join("\n"));
  };
  for (const [name, { text, problem }] of Object.entries(files)) {
    agent.skip();
    place.write(name, text());
    if (problem) {
      assert.match((await agent.log(({ file }) => `${file}`.endsWith(name))).msg, problem);
    } else await agent.updated();
    await took(name);
    place.remove(name);
    if (!problem) await agent.updated();
  }
  // 20,000 entries for 4,096.
  agent.skip();
  place.write(
    "services.json",
    list(many(10_000, (i) => [service(1000 + i), slice(1000 + i, 1000 + i, 1)]).flat()),
  );
  // Backends of the files before may still be quarantined, and these be short first.
  const short = await agent.log(({ event, map }) => event === "NoRoom" && map === "services");
  assert.match(short.msg, /^\d+ Services lack room, such as .*; raise mapSizes\.services$/);
  await agent.updated();
  await took("services.json");
  place.write("a.yaml", serviceYaml("web", "10.96.0.1", ["10.1.0.2"]));
  await agent.updated();
  place.remove("services.json");
  await agent.log(({ msg }) => msg === "there is room again");
  await took("removed");
  const lines = agent.lines.filter(({ event, map }) => event === "NoRoom" && map === "services");
  assert.equal(lines.length, 1, agent.transcript());
  assert.deepEqual(place.services()["10.96.0.1:80/6"], ["10.1.0.2:8080"]);
  if (Deno.env.has("FIGURES")) console.error(found.join("\n"));
});
