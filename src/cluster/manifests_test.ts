import assert from "node:assert/strict";
import { join } from "node:path";
import { ManifestSource } from "./manifests.ts";
import { Recorder } from "./test_support.ts";

const service = (name: string, ip = "10.96.0.1") =>
  `apiVersion: v1\nkind: Service\nmetadata:\n  name: ${name}\nspec:\n  clusterIP: ${ip}\n  ports:\n  - port: 80\n`;

/** Runs `test` over a source of a fresh directory that holds `files`. */
function withSource(
  name: string,
  files: Record<string, string>,
  test: (context: { dir: string; sink: Recorder; source: ManifestSource }) => void | Promise<void>,
) {
  Deno.test(name, async () => {
    const root = await Deno.makeTempDir({ prefix: "pcnk-t-" });
    const dir = join(root, "manifests");
    await Deno.mkdir(dir);
    for (const [file, content] of Object.entries(files)) {
      await Deno.writeTextFile(join(dir, file), content);
    }
    const sink = new Recorder();
    const source = new ManifestSource(dir, sink, { quietMs: 150 });
    try {
      await source.start();
      await test({ dir, sink, source });
    } finally {
      source.close();
      await Deno.remove(root, { recursive: true });
    }
  });
}

/** Writes as careful programs do: a file beside, renamed into place. */
async function replace(dir: string, file: string, content: string) {
  await Deno.writeTextFile(join(dir, `.${file}.tmp`), content);
  await Deno.rename(join(dir, `.${file}.tmp`), join(dir, file));
}

const ipOf = (sink: Recorder, title: string) => {
  const object = sink.objects.get(title);
  return object?.kind === "Service" ? object.clusterIPs[0] : undefined;
};

withSource(
  "ManifestSource reads yaml, yml and json files, and one batch holds them all",
  {
    "a.yaml": `${service("a")}---\n${service("b")}`,
    "b.yml": service("c"),
    "c.json": JSON.stringify({ apiVersion: "v1", kind: "Node", metadata: { name: "n" } }),
    "d.txt": service("d"),
    ".e.yaml": service("e"),
    "f.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: x\n",
  },
  ({ sink, dir, source }) => {
    assert.deepEqual([...sink.objects.keys()].sort(), [
      "Node n",
      "Service default/a",
      "Service default/b",
      "Service default/c",
    ]);
    assert.equal(sink.batches, 1);
    assert.ok(sink.log.includes(`ignored ${dir}/f.yaml apps/v1/Deployment`));
    assert.equal(source.complete, true);
  },
);

withSource(
  "ManifestSource follows a file that is renamed into place, edited in place, and removed",
  { "a.yaml": service("a") },
  async ({ dir, sink }) => {
    await replace(dir, "a.yaml", service("a", "10.96.0.2"));
    await sink.until(() => ipOf(sink, "Service default/a") === "10.96.0.2");
    await Deno.writeTextFile(join(dir, "a.yaml"), service("a", "10.96.0.3"));
    await sink.until(() => ipOf(sink, "Service default/a") === "10.96.0.3");
    await Deno.remove(join(dir, "a.yaml"));
    await sink.until(() => sink.objects.size === 0);
  },
);

withSource(
  "ManifestSource waits for a writer that truncates and writes in pieces",
  { "a.yaml": `${service("a")}---\n${service("b")}` },
  async ({ dir, sink }) => {
    const file = await Deno.open(join(dir, "a.yaml"), { write: true, truncate: true });
    const bytes = new TextEncoder().encode(`${service("a", "10.96.0.9")}---\n${service("b")}`);
    await file.write(bytes.subarray(0, 100));
    await new Promise((done) => setTimeout(done, 30));
    await file.write(bytes.subarray(100));
    file.close();
    await sink.until(() => ipOf(sink, "Service default/a") === "10.96.0.9");
    assert.ok(!sink.log.some((line) => line.startsWith("delete")), sink.log.join("\n"));
    assert.ok(!sink.log.some((line) => line.startsWith("problem")), sink.log.join("\n"));
  },
);

withSource(
  "ManifestSource reports a broken file once with its line and keeps the last good state",
  { "a.yaml": service("a"), "b.yaml": service("b", "10.96.0.2") },
  async ({ dir, sink, source }) => {
    const broken = `${service("c")}---\n${service("a").replace("port: 80", "port: 80000")}`;
    await replace(dir, "a.yaml", broken);
    await sink.until(() => sink.log.some((line) => line.startsWith("problem")));
    await replace(dir, "b.yaml", service("b", "10.96.0.3"));
    await sink.until(() => ipOf(sink, "Service default/b") === "10.96.0.3");
    assert.deepEqual(sink.log.filter((line) => line.startsWith("problem")), [
      `problem ${dir}/a.yaml:17: Service a: ` +
      "spec.ports[0].port: must be a whole number from 1 to 65535, not 80000",
    ]);
    assert.ok(sink.objects.has("Service default/a"));
    assert.ok(!sink.objects.has("Service default/c"));
    assert.equal(source.complete, true, "it was good once");
    await replace(dir, "a.yaml", service("c"));
    await sink.until(() => sink.objects.has("Service default/c"));
    assert.ok(sink.log.includes(`recovered ${dir}/a.yaml`));
    assert.ok(!sink.objects.has("Service default/a"));
  },
);

withSource(
  "ManifestSource shows what is good in a file that was never good, and is not complete",
  { "a.yaml": `${service("a")}---\nkind: Service\n  x\n` },
  ({ dir, sink, source }) => {
    assert.ok(sink.objects.has("Service default/a"));
    assert.equal(source.complete, false);
    assert.equal(sink.log.filter((line) => line.startsWith(`problem ${dir}/a.yaml:`)).length, 1);
  },
);

withSource(
  "ManifestSource reports an object that two files hold; the first by name counts",
  {
    "a.yaml": service("x", "10.96.0.1"),
    "b.yaml": `${service("x", "10.96.0.2")}---\n${service("y")}`,
  },
  async ({ dir, sink }) => {
    assert.equal(ipOf(sink, "Service default/x"), "10.96.0.1");
    assert.deepEqual(sink.log.filter((line) => line.startsWith("problem")), [
      `problem ${dir}/b.yaml:1: Service default/x: is also in ${dir}/a.yaml; this one is ignored`,
    ]);
    await Deno.remove(join(dir, "a.yaml"));
    await sink.until(() => ipOf(sink, "Service default/x") === "10.96.0.2");
    assert.ok(!sink.log.includes("delete Service default/x"));
  },
);

withSource(
  "ManifestSource reports an object that is in a file twice; the first one counts",
  { "a.yaml": `${service("x", "10.96.0.1")}---\n${service("x", "10.96.0.2")}` },
  ({ dir, sink, source }) => {
    assert.equal(ipOf(sink, "Service default/x"), "10.96.0.1");
    assert.ok(
      sink.log.includes(
        `problem ${dir}/a.yaml:9: Service default/x: is already in line 1; this one is ignored`,
      ),
    );
    assert.equal(source.complete, true);
  },
);

withSource(
  "ManifestSource keeps everything while its directory is away and follows the one that takes its place",
  { "a.yaml": service("a") },
  async ({ dir, sink, source }) => {
    await Deno.rename(dir, `${dir}.old`);
    await sink.until(() =>
      sink.log.some((line) => line.startsWith(`problem ${dir}: is not there`))
    );
    assert.equal(source.complete, false);
    assert.ok(sink.objects.has("Service default/a"));
    await Deno.mkdir(`${dir}.new`);
    await Deno.writeTextFile(`${dir}.new/b.yaml`, service("b"));
    await Deno.rename(`${dir}.new`, dir);
    await sink.until(() => sink.objects.has("Service default/b") && sink.objects.size === 1);
    assert.ok(sink.log.includes(`recovered ${dir}`));
    await replace(dir, "b.yaml", service("b", "10.96.0.7"));
    await sink.until(() => ipOf(sink, "Service default/b") === "10.96.0.7");
  },
);

withSource(
  "ManifestSource finds every file of a burst, of which events are dropped",
  {},
  async ({ dir, sink }) => {
    for (const ip of ["10.96.1", "10.96.2"]) {
      for (let i = 0; i < 40; i++) { // without a pause in which events could be taken
        Deno.writeTextFileSync(join(dir, ".tmp"), service(`s${i}`, `${ip}.${i}`));
        Deno.renameSync(join(dir, ".tmp"), join(dir, `${i}.yaml`));
      }
      const start = performance.now();
      await sink.until(() =>
        Array.from({ length: 40 }, (_, i) => ipOf(sink, `Service default/s${i}`) === `${ip}.${i}`)
          .every((found) => found)
      );
      assert.ok(performance.now() - start < 1000);
    }
    for (let i = 0; i < 40; i++) Deno.removeSync(join(dir, `${i}.yaml`));
    await sink.until(() => sink.objects.size === 0);
  },
);

Deno.test("ManifestSource follows the symlinks of a Kubernetes volume", async () => {
  const root = await Deno.makeTempDir({ prefix: "pcnk-t-" });
  const sink = new Recorder();
  const version = async (name: string, ip: string) => {
    await Deno.mkdir(join(root, name));
    await Deno.writeTextFile(join(root, name, "a.yaml"), service("a", ip));
    await Deno.symlink(name, join(root, "..data_tmp"));
    await Deno.rename(join(root, "..data_tmp"), join(root, "..data"));
  };
  await version("..1", "10.96.0.1");
  await Deno.symlink("..data/a.yaml", join(root, "a.yaml"));
  const source = new ManifestSource(root, sink, { quietMs: 60 });
  try {
    await source.start();
    assert.equal(ipOf(sink, "Service default/a"), "10.96.0.1");
    await version("..2", "10.96.0.2");
    await sink.until(() => ipOf(sink, "Service default/a") === "10.96.0.2");
    assert.ok(!sink.log.some((line) => line.startsWith("delete")));
  } finally {
    source.close();
    await Deno.remove(root, { recursive: true });
  }
});

Deno.test("ManifestSource follows a symlink that is turned to another directory", async () => {
  const root = await Deno.makeTempDir({ prefix: "pcnk-t-" });
  const sink = new Recorder();
  for (const [name, ip] of [["one", "10.96.0.1"], ["two", "10.96.0.2"]] as const) {
    await Deno.mkdir(join(root, name));
    await Deno.writeTextFile(join(root, name, "a.yaml"), service("a", ip));
  }
  await Deno.symlink("one", join(root, "now"));
  const source = new ManifestSource(join(root, "now"), sink, { quietMs: 60 });
  try {
    await source.start();
    await Deno.symlink("two", join(root, "next"));
    await Deno.rename(join(root, "next"), join(root, "now"));
    await sink.until(() => ipOf(sink, "Service default/a") === "10.96.0.2");
  } finally {
    source.close();
    await Deno.remove(root, { recursive: true });
  }
});

Deno.test("ManifestSource finds in its scans what no event told", async () => {
  const root = await Deno.makeTempDir({ prefix: "pcnk-t-" });
  await Deno.writeTextFile(join(root, "a.yaml"), service("a"));
  const sink = new Recorder();
  const watchFs = Deno.watchFs;
  Deno.watchFs = () => {
    throw new Error("no inotify watches left");
  };
  const source = new ManifestSource(root, sink, { rescanMs: 50, quietMs: 20 });
  try {
    await source.start();
    await replace(root, "a.yaml", service("a", "10.96.0.2"));
    await sink.until(() => ipOf(sink, "Service default/a") === "10.96.0.2");
  } finally {
    Deno.watchFs = watchFs;
    source.close();
    await Deno.remove(root, { recursive: true });
  }
});

Deno.test("ManifestSource.start() throws when there is no directory", async () => {
  const source = new ManifestSource("/nonexistent/pcnk", new Recorder());
  await assert.rejects(source.start(), Deno.errors.NotFound);
});

/** EndpointSlices of 1000 endpoints, as lines. */
const slices = (count: number) =>
  Array.from({ length: count }, (_, slice) => {
    const endpoints = Array.from(
      { length: 1000 },
      (_, i) => `- addresses: [10.${slice}.${i >> 8}.${i & 255}]\n`,
    );
    return "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n" +
      `metadata: {name: web-${slice}}\naddressType: IPv4\nports: [{port: 80}]\n` +
      `endpoints:\n${endpoints.join("")}`;
  });
const items = (slices: string[]) =>
  "apiVersion: v1\nkind: List\nitems:\n" +
  slices.map((slice) => `- ${slice.trimEnd().replaceAll("\n", "\n  ")}\n`).join("");

const large: Record<string, { text: string; objects: number; problem?: RegExp }> = {
  "many documents": { text: slices(40).join("---\n"), objects: 40 },
  "one document": { text: items(slices(40)), objects: 40 },
  "directives": { text: `%YAML 1.2\n---\n${slices(40).join("---\n")}`, objects: 40 },
  "aliases of aliases": {
    text: `apiVersion: v1\nkind: List\n${items(slices(30)).replace(/.*\n.*\n/, "")}` +
      `  labels: &i [${Array(30).fill("*o")}]\n`.replace("*o", "&o {kind: x, apiVersion: y}"),
    objects: 30,
  },
  "nothing but blank lines": {
    text: slices(1)[0] + "\n".repeat(4_000_000),
    objects: 0,
    problem: /:1: a document of \d+ KiB is too large for YAML: at most 1536 KiB; write/,
  },
  "a mistake at its end": {
    text: items([...slices(40), "apiVersion: v1\nkind: Node\nmetadata: {name: 7}\n"]),
    objects: 40,
    problem: /:40246: Node: items\[40\]\.metadata\.name: must be a string, not 7$/,
  },
  "a document beyond all bounds": {
    text: slices(1)[0] + "# 345678901234567890\n".repeat(1_700_000),
    objects: 0,
    problem: /: the document in line 1 is larger than 32 MiB: write one document for each object$/,
  },
};

for (const [name, { text, objects, problem }] of Object.entries(large)) {
  Deno.test(`ManifestSource lets other work have its turn while it reads ${name}`, async () => {
    const dir = await Deno.makeTempDir({ prefix: "pcnk-t-" });
    await Deno.writeTextFile(join(dir, "large.yaml"), text);
    const sink = new Recorder();
    const source = new ManifestSource(dir, sink);
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    const since = performance.now();
    try {
      await source.start();
      const perTurn = (performance.now() - since) / turns;
      assert.ok(perTurn < 200, `a turn in ${perTurn} ms`);
      assert.equal(sink.objects.size, objects, sink.log.join());
      const problems = sink.log.filter((line) => line.startsWith("problem"));
      if (problem) assert.match(problems.join("\n"), problem);
      else assert.deepEqual(problems, []);
    } finally {
      clearInterval(timer);
      source.close();
      await Deno.remove(dir, { recursive: true });
    }
  });
}

withSource(
  "ManifestSource reports many problems with their number",
  {
    "a.yaml": Array(1000).fill("kind: Service\n").map((text, i) => `${text}# ${i}\n`).join("---\n"),
  },
  ({ sink, dir }) => {
    const problems = sink.log.filter((line) => line.startsWith("problem"));
    assert.equal(problems.length, 21);
    assert.equal(problems.at(-1), `problem ${dir}/a.yaml:61: this and 979 more problems`);
  },
);
