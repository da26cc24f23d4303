/**
 * A Service refuses connections because its selector finds nothing, and a user who is new to pcnk wants to know
 * why: whichever command comes to mind first, it says so in words, or names the command that does.
 */
import assert from "node:assert/strict";
import { labTest, pcnkOn } from "./support/lab.ts";

const ADVICE = /pcnk describe service default\/empty/;

labTest("every first command leads to why a Service without endpoints refuses", {
  name: "tstory",
  nodes: 1,
  pods: 1,
}, async (lab) => {
  /** With what is seen on the screen: both streams. */
  const seenOf = async (said: ReturnType<typeof lab.output>) => {
    const { code, stdout, stderr } = await said;
    return { code, screen: stdout + stderr };
  };
  const on = (...args: string[]) => seenOf(pcnkOn(lab, ...args));

  const curl = await seenOf(lab.output("pod1-1", ["curl", "-sS", "-m", "5", "http://10.96.0.11/"]));
  assert.deepEqual([curl.code, /Failed to connect/.test(curl.screen)], [7, true], curl.screen);

  const first: [string[], number][] = [
    [["status"], 0],
    [["get", "services", "empty"], 0],
    [["get", "backends", "empty"], 0],
    [["trace", "default/pod1-1", "default/empty"], 1],
    [["trace", "default/pod1-1", "10.96.0.11:80"], 1],
  ];
  for (const [args, code] of first) {
    const seen = await on(...args);
    assert.equal(seen.code, code, args.join(" "));
    assert.match(seen.screen, ADVICE, args.join(" "));
  }

  // One that listens meanwhile; it has to be there before the packet is.
  const watching = on("monitor", "--count", "1");
  let told = false;
  watching.finally(() => told = true);
  while (!told) await seenOf(lab.output("pod1-1", ["curl", "-s", "-m", "2", "http://10.96.0.11/"]));
  const monitored = await watching;
  assert.match(monitored.screen, /rejected_no_backend +veth\w+ +TCP 10\.96\.0\.11:80/);
  assert.match(
    monitored.screen,
    /→ rejected_no_backend: .*no backends; pcnk describe service /,
  );

  const why = await on("describe", "service", "default/empty");
  assert.equal(why.code, 1);
  assert.match(
    why.screen,
    /→ connections are refused: there are no endpoints; no EndpointSlice in \S+ that is labelled kubernetes\.io\/service-name: empty has any \(its selector is app=empty\)/,
  );
  // By a name that is not quite right too.
  assert.match((await on("get", "backends", "emty")).screen, /did you mean default\/empty\?/);
  assert.match(
    (await on("describe", "service", "emty")).screen,
    /did you mean default\/empty\?/,
  );
  assert.match((await on("trace", "pod1-1", "emty")).screen, /did you mean default\/empty\?/);
  // What comes after the advice was followed says so at once.
  const slice = {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      name: "empty-1",
      namespace: "default",
      labels: { "kubernetes.io/service-name": "empty" },
    },
    addressType: "IPv4",
    ports: [{ name: "tcp", protocol: "TCP", port: 8080 }, {
      name: "udp",
      protocol: "UDP",
      port: 8080,
    }],
    endpoints: [{ addresses: ["10.244.1.2"], conditions: { ready: true } }],
  };
  lab.writeManifest("mended", [slice]);
  let mended = await on("describe", "service", "empty");
  for (const end = Date.now() + 10_000; mended.code !== 0 && Date.now() < end;) {
    mended = await on("describe", "service", "empty");
  }
  assert.equal(mended.code, 0, mended.screen);
  assert.match((await on("status")).screen, /^services +ok .* each with a backend$/m);
});
