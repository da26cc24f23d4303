/** Per-node settings against a real etcd: puts and deletes, its death, compaction, TLS, users. */
import { deepEqual, equal, match, rejects } from "node:assert/strict";
import { Etcd, freePort, haveEtcd, makePki } from "../support/etcd.ts";
import { Recorder } from "./recorder.ts";
import { Relay } from "./relay.ts";
import { TempFolder } from "../support/folder.ts";

const ignore = !haveEtcd();

function test(name: string, fn: () => void | Promise<void>): void {
  Deno.test({ name, ignore, fn });
}

test("EtcdSettings follows etcdctl put and del, of whole names only", async () => {
  await using etcd = await Etcd.start();
  await etcd.ctl("put", "/nodes/node1/directRouting", "true");
  await etcd.ctl("put", "/nodes/node10/directRouting", "false");
  await etcd.ctl("put", "/nodes/node1/other", "x");
  await etcd.ctl("put", "/nodesx/node1/vpcMode", "aws");
  await using seen = new Recorder({ endpoints: [etcd.url] });
  await seen.settings.start(5000);
  deepEqual(Object.fromEntries(seen.seen), {
    node1: { directRouting: "true" },
    node10: { directRouting: "false" },
  });
  await etcd.ctl("put", "/nodes/node10/publicIP", "198.51.100.100");
  await seen.until("the put", () => seen.get("node10", "publicIP") === "198.51.100.100");
  equal(seen.get("node1", "publicIP"), undefined);
  await etcd.ctl("del", "/nodes/node1/directRouting");
  await seen.until("the delete", () => seen.get("node1", "directRouting") === undefined);
  equal(seen.get("node10", "directRouting"), "false");
  equal(seen.lists, 1, "by the watch, not by listing again");
});

test("EtcdSettings starts without etcd, says so, and takes up when it comes; also after kill -9", async () => {
  await using etcd = await Etcd.start();
  await etcd.ctl("put", "/nodes/a/vpcMode", "aws");
  await etcd.kill();
  await using seen = new Recorder({ endpoints: [etcd.url] });
  await seen.settings.start(100);
  await seen.until("trouble", () => seen.troubles.length === 1);
  match(seen.troubles[0]!, /^etcd http:\/\/127\.0\.0\.1:\d+ cannot be reached: .*refused/);
  equal(seen.settings.trouble !== undefined, true);
  await etcd.run();
  await seen.until("the value", () => seen.get("a", "vpcMode") === "aws");
  await seen.until("recovery", () => seen.troubles.length === 2);
  equal(seen.settings.trouble, undefined);
  await etcd.kill();
  await seen.until("trouble again", () => seen.troubles.length === 3);
  equal(seen.get("a", "vpcMode"), "aws", "what was read stays");
  await etcd.run();
  await etcd.ctl("put", "/nodes/a/vpcMode", "");
  await seen.until("the next value", () => seen.get("a", "vpcMode") === "");
});

test("EtcdSettings resumes an old watch without listing, and lists when what it missed was compacted", async () => {
  await using etcd = await Etcd.start();
  await using relay = await Relay.start(etcd.port);
  await using seen = new Recorder({ endpoints: [relay.url] }, { watchMs: 200 });
  await seen.settings.start(5000);
  for (let i = 1; i <= 20; i++) {
    await etcd.ctl("put", "/nodes/a/publicIP", `192.0.2.${i}`);
    await seen.until(`value ${i}`, () => seen.get("a", "publicIP") === `192.0.2.${i}`);
  }
  equal(seen.lists, 1);
  relay.hold(); // new connections wait: the next watch cannot begin
  await relay.cut();
  await etcd.ctl("put", "/nodes/b/directRouting", "true");
  const put = JSON.parse(await etcd.ctl("put", "/nodes/gone/vpcMode", "aws", "-w", "json"));
  await etcd.ctl("del", "/nodes/a/publicIP");
  const { header } = JSON.parse(await etcd.ctl("get", "x", "-w", "json"));
  equal(header.revision > put.header.revision, true);
  await etcd.ctl("compact", String(header.revision));
  relay.release();
  await seen.until(
    "after the gap",
    () => seen.get("b", "directRouting") === "true" && seen.get("a", "publicIP") === undefined,
  );
});

test("EtcdClient.watch() says that a revision was compacted", async () => {
  await using etcd = await Etcd.start();
  for (const value of ["1", "2", "3"]) await etcd.ctl("put", "/nodes/a/x", value);
  await etcd.ctl("compact", "4");
  await using seen = new Recorder({ endpoints: [etcd.url] });
  const signal = AbortSignal.timeout(5000);
  await rejects(seen.client.watch("/nodes/", 1n, signal).next(), {
    name: "CompactedError",
    message: /4/,
  });
  await rejects(seen.client.watch("/nodes/", 4000n, signal).next(), { name: "CompactedError" });
});

test("EtcdSettings notices a connection that died without a word", async () => {
  await using etcd = await Etcd.start();
  await using relay = await Relay.start(etcd.port);
  await using seen = new Recorder({ endpoints: [relay.url] }, { watchMs: 300, answerMs: 300 });
  await seen.settings.start(5000);
  relay.freeze(); // open connections stay open, and nothing comes through any more
  await etcd.ctl("put", "/nodes/a/directRouting", "true");
  await seen.until(
    "the value, over a new connection",
    () => seen.get("a", "directRouting") === "true",
  );
});

test("EtcdSettings goes to the next server when one does not answer", async () => {
  await using etcd = await Etcd.start();
  await using relay = await Relay.start(etcd.port);
  relay.hold();
  const closed = `http://127.0.0.1:${freePort()}`;
  await using seen = new Recorder({ endpoints: [closed, relay.url, etcd.url] }, {
    answerMs: 300,
  });
  await seen.settings.start(10_000);
  equal(seen.lists, 1);
  equal(seen.client.endpoint, etcd.url);
  await etcd.ctl("put", "/nodes/a/directRouting", "true");
  await seen.until("the value", () => seen.get("a", "directRouting") === "true");
});

test("EtcdSettings lists again when an empty store has taken the place of another", async () => {
  await using first = await Etcd.start();
  await using second = await Etcd.start();
  for (let i = 0; i < 5; i++) await first.ctl("put", "/nodes/a/directRouting", "true");
  await using relay = await Relay.start(first.port);
  await using seen = new Recorder({ endpoints: [relay.url] });
  await seen.settings.start(5000);
  equal(seen.get("a", "directRouting"), "true");
  relay.target = second.port;
  await relay.cut();
  await seen.until("nothing", () => seen.get("a", "directRouting") === undefined);
  await second.ctl("put", "/nodes/b/vpcMode", "aws");
  await seen.until("the new store's value", () => seen.get("b", "vpcMode") === "aws");
});

test("EtcdSettings speaks TLS with a client certificate, as a user who may only read /nodes/", async () => {
  using temporary = new TempFolder();
  const folder = temporary.path;
  const pki = await makePki(folder);
  await using etcd = await Etcd.start({ pki, flags: ["--auth-token", "simple"] });
  for (
    const words of [
      ["user", "add", "root:rootpw"],
      ["user", "grant-role", "root", "root"],
      ["role", "add", "pcnk"],
      ["role", "grant-permission", "pcnk", "read", "--prefix=true", "/nodes/"],
      ["user", "add", "agent:secret"],
      ["user", "grant-role", "agent", "pcnk"],
      ["put", "/nodes/a/directRouting", "true"],
      ["auth", "enable"],
    ]
  ) await etcd.ctl(...words);
  const passwordFile = `${folder}/password`;
  Deno.writeTextFileSync(passwordFile, "secret\n");
  const access = {
    endpoints: [etcd.url],
    ca: `${pki}/ca.crt`,
    cert: `${pki}/anonymous.crt`,
    key: `${pki}/anonymous.key`,
    username: "agent",
    passwordFile,
  };
  await using seen = new Recorder(access, { watchMs: 300 });
  await seen.settings.start(5000);
  equal(seen.get("a", "directRouting"), "true", seen.settings.trouble?.reason);
  await etcd.ctl("--user", "root:rootpw", "put", "/nodes/a/directRouting", "false");
  await seen.until("the put", () => seen.get("a", "directRouting") === "false");
  const signal = AbortSignal.timeout(5000);
  await rejects(seen.client.put("/nodes/a/vpcMode", "aws", signal), /permission denied; grant/);
  // Simple tokens live in the server's memory: a restart forgets them, and the client logs in again.
  await etcd.kill();
  await etcd.run();
  await etcd.ctl("--user", "root:rootpw", "put", "/nodes/a/publicIP", "192.0.2.1");
  await seen.until("a put after the restart", () => seen.get("a", "publicIP") === "192.0.2.1");

  const failing = async (change: Partial<typeof access>, message: RegExp) => {
    await using other = new Recorder({ ...access, ...change });
    await rejects(other.client.range("/nodes/", signal), message);
  };
  Deno.writeTextFileSync(`${folder}/wrong`, "guess");
  await failing(
    { passwordFile: `${folder}/wrong` },
    /invalid user ID or password; look at etcd\.username \(agent\)/,
  );
  await failing(
    { cert: `${pki}/client.crt`, key: `${pki}/client.key` },
    /without a common name/,
  );
  await failing({ passwordFile: `${folder}/none` }, /none: is not there/);
});

test("EtcdClient's errors say what to do: no user, no certificate, a wrong CA, no etcd", async () => {
  using temporary = new TempFolder();
  const folder = temporary.path;
  await using web = new Web();
  const pki = await makePki(folder);
  await using etcd = await Etcd.start({ pki });
  const signal = AbortSignal.timeout(10_000);
  const failing = async (
    access: ConstructorParameters<typeof Recorder>[0],
    message: RegExp,
  ) => {
    await using other = new Recorder(access);
    await rejects(other.client.range("/nodes/", signal), message);
  };
  const [ca, cert, key] = ["ca.crt", "anonymous.crt", "anonymous.key"].map((name) =>
    `${pki}/${name}`
  );
  await failing({ endpoints: [etcd.url], ca: ca! }, /give etcd\.cert and etcd\.key/);
  await failing({ endpoints: [etcd.url] }, /UnknownIssuer.*look at etcd\.ca/);
  await failing({ endpoints: [etcd.url], ca: `${pki}/nothing` }, /nothing: is not there/);
  await failing({ endpoints: [web.url] }, /404.*is it an etcd server/);
  for (
    const words of [["user", "add", "root:pw"], ["user", "grant-role", "root", "root"], [
      "auth",
      "enable",
    ]]
  ) {
    await etcd.ctl(...words);
  }
  await failing(
    { endpoints: [etcd.url], ca: ca!, cert: cert!, key: key! },
    /give etcd\.username and etcd\.passwordFile/,
  );
});

/** A web server that is no etcd. */
class Web implements AsyncDisposable {
  private readonly server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    () => new Response("404 page not found", { status: 404 }),
  );
  get url(): string {
    return `http://127.0.0.1:${this.server.addr.port}`;
  }
  async [Symbol.asyncDispose]() {
    await this.server.shutdown();
  }
}
