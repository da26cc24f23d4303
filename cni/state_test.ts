import { deepEqual, equal, throws } from "node:assert/strict";
import "../tests/support/libraries.ts";
import type { Attachment } from "../src/node/attachments.ts";
import { State } from "./state.ts";
import { TempFolder } from "../tests/support/folder.ts";

const attachment: Attachment = {
  containerID: "c1",
  ifname: "eth0",
  network: "net",
  netns: "/run/netns/x",
  hostIfindex: 7,
  hostIfname: "veth7",
  mac: "02:00:00:00:00:01",
  addresses: [{ address: "10.1.0.2", gateway: "10.1.0.1" }],
};

/** Runs with a directory that does not exist yet. */
function withDir(fn: (stateDir: string) => void): void {
  using folder = new TempFolder();
  const root = folder.path;
  fn(`${root}/run/pcnk`);
}

const mode = (path: string) => (Deno.statSync(path).mode ?? 0) & 0o777;
const files = (stateDir: string) =>
  Array.from(Deno.readDirSync(`${stateDir}/attachments`), ({ name }) => name).sort();

Deno.test("State writes, reads, replaces and removes records", () => {
  withDir((stateDir) => {
    using state = State.open(stateDir);
    equal(state.read(attachment), undefined);
    state.write(attachment);
    deepEqual(state.read(attachment), attachment);
    deepEqual(files(stateDir), ["c1@eth0.json"]);
    state.write({ ...attachment, hostIfindex: 8, pod: "default/web" });
    equal(state.read(attachment)?.hostIfindex, 8);
    equal(state.remove(attachment), true);
    equal(state.remove(attachment), false);
    deepEqual(files(stateDir), []);
  });
});

Deno.test("State reads records of release 0.1.0, and leaves those of a newer pcnk alone", () => {
  withDir((stateDir) => {
    using state = State.open(stateDir);
    const path = `${stateDir}/attachments/c1@eth0.json`;
    Deno.writeTextFileSync(path, JSON.stringify(attachment)); // release 0.1.0 wrote no version
    deepEqual(state.read(attachment), attachment);
    state.write(attachment);
    equal(JSON.parse(Deno.readTextFileSync(path)).schema, 2);
    deepEqual(state.list(), [{ id: { containerID: "c1", ifname: "eth0" }, attachment }]);
    const newer = JSON.stringify({ schema: 3, of: "the future" });
    Deno.writeTextFileSync(path, newer);
    for (const use of [() => state.read(attachment), () => state.list()]) {
      throws(use, {
        code: 11,
        details: /schema 3, written by a newer pcnk.*run the newer pcnk again/,
      });
    }
    equal(Deno.readTextFileSync(path), newer);
  });
});

Deno.test("State is for root only", () => {
  withDir((stateDir) => {
    using state = State.open(stateDir);
    state.write(attachment);
    deepEqual(
      ["", "/attachments", "/lock", "/attachments/c1@eth0.json"].map((at) => mode(stateDir + at)),
      [0o700, 0o700, 0o600, 0o600],
    );
  });
});

Deno.test("State takes an interface for what it is, also one with an @", () => {
  withDir((stateDir) => {
    using state = State.open(stateDir);
    const odd = { ...attachment, ifname: "a@b.json" };
    state.write(odd);
    deepEqual(state.list(), [{ id: { containerID: "c1", ifname: "a@b.json" }, attachment: odd }]);
  });
});

Deno.test("State.list() lists damaged records too, and clears what was half written", () => {
  withDir((stateDir) => {
    using state = State.open(stateDir);
    state.write(attachment);
    const whole = Deno.readTextFileSync(`${stateDir}/attachments/c1@eth0.json`);
    const put = (name: string, text: string) =>
      Deno.writeTextFileSync(`${stateDir}/attachments/${name}`, text);
    put(".c2@eth0.json", whole.slice(0, 20)); // killed before the rename
    const damaged: Record<string, string> = {
      c3: "",
      c4: whole.slice(0, 50),
      c5: "null",
      c6: whole, // another's
      c7: whole.replace('"c1"', '"c7"').replace('"hostIfindex":7', '"hostIfindex":"7"'),
      c8: whole.replace('"c1"', '"c8"').replace('"10.1.0.2"', "5"),
    };
    for (const [id, text] of Object.entries(damaged)) put(`${id}@eth0.json`, text);
    put("notes.txt", "");
    put("..@x.json", whole);
    const found = state.list().map(({ id, attachment }) => [id.containerID, !!attachment]).sort();
    deepEqual(found, [["c1", true], ...Object.keys(damaged).map((id) => [id, false])]);
    equal(files(stateDir).includes(".c2@eth0.json"), false);
    for (const id of Object.keys(damaged)) {
      equal(state.read({ containerID: id, ifname: "eth0" }), undefined);
    }
  });
});

Deno.test("State.open() refuses a directory that others may write to, and what is no directory", () => {
  withDir((stateDir) => {
    State.open(stateDir).close();
    for (const at of [stateDir, `${stateDir}/attachments`]) {
      Deno.chmodSync(at, 0o777);
      throws(() => State.open(stateDir), { code: 5, details: /others may write/ });
      Deno.chmodSync(at, 0o700);
    }
    Deno.removeSync(`${stateDir}/attachments`);
    Deno.symlinkSync("/tmp", `${stateDir}/attachments`);
    throws(() => State.open(stateDir), { code: 5, details: /not a directory/ });
    throws(() => State.open("/proc/nothing/here"), { code: 5 });
    throws(() => State.open("/dev/null/x"), { code: 5 });
  });
});

Deno.test("State.open() keeps others out until it is closed or its process is gone", async () => {
  using folder = new TempFolder();
  const root = folder.path;
  const module = new URL("./state.ts", import.meta.url).href;
  const script = `
      import { State } from ${JSON.stringify(module)};
      console.log("trying");
      const state = State.open(${JSON.stringify(root)});
      console.log("locked");
      await new Promise(() => setTimeout(() => {}, 1e6));`;
  const state = State.open(root);
  using child = new Holder(script);
  equal(await child.line(), "trying");
  let locked = false;
  const next = child.line().then((line) => (locked = true, line));
  await child.waitsForLock();
  equal(locked, false);
  state.close();
  equal(await next, "locked");
  await child.kill();
  State.open(root).close(); // the dead process holds nothing
});

/** A Deno process that prints lines. */
class Holder {
  readonly #child: Deno.ChildProcess;
  readonly #reader: ReadableStreamDefaultReader<string>;
  #text = "";
  #ended = false;

  constructor(script: string) {
    const url = `data:application/typescript;base64,${btoa(script)}`;
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", "--quiet", url],
      stdin: "null",
      stdout: "piped",
    }).spawn();
    this.#reader = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  async line(): Promise<string> {
    while (!this.#text.includes("\n")) {
      const { value, done } = await this.#reader.read();
      if (done) return this.#text;
      this.#text += value;
    }
    const [line = "", ...rest] = this.#text.split("\n");
    this.#text = rest.join("\n");
    return line;
  }

  /** Resolves when the kernel has it waiting for a lock of flock(2). */
  async waitsForLock(): Promise<void> {
    const line = new RegExp(`-> FLOCK +ADVISORY +WRITE +${this.#child.pid} `);
    while (!line.test(Deno.readTextFileSync("/proc/locks"))) {
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }

  async kill(): Promise<void> {
    this.#ended = true;
    this.#child.kill("SIGKILL");
    await this.#child.status;
    await this.#reader.cancel();
  }

  [Symbol.dispose](): void {
    if (!this.#ended) this.#child.kill("SIGKILL");
  }
}
