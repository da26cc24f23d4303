/**
 * The page of `pcnk ui`, clicked through in headless Chromium on a real node of a lab. One lab and one browser for all of it; each step
 * opens the page anew, so that none depends on another.
 */
import assert from "node:assert/strict";
import type { LabHandle } from "../../src/lab/lab.ts";
import { endpointSliceManifests, serviceManifests } from "../../src/lab/manifests.ts";
import { settle } from "../../src/lab/services.ts";
import type { Chrome } from "./support/chrome.ts";
import { hostile } from "./support/hostile.ts";
import { needs, startUi, type UiProcess, withPage } from "./support/stage.ts";

interface Stage {
  lab: LabHandle;
  chrome: Chrome;
  ui: UiProcess;
}

const button = (text: string) =>
  `[...document.querySelectorAll("button")].find((one) => one.innerText.startsWith(${
    JSON.stringify(text)
  }))`;
const row = (text: string) =>
  `[...document.querySelectorAll("tbody tr")].find((one) => one.innerText.includes(${
    JSON.stringify(text)
  }))`;
/** What has the focus, as the user sees it. */
const focused =
  `(document.activeElement.getAttribute("aria-label") ?? document.activeElement.innerText)`;
const PICTURE = "The topology of this node";

/** The page at one of its views. */
async function at({ chrome, ui }: Stage, view: string): Promise<void> {
  await chrome.open("about:blank");
  await chrome.open(`${ui.url}`);
  await chrome.until(
    `location.pathname === "/ui/" && location.search === "" && document.querySelector("nav button")`,
  );
  await chrome.eval(`location.hash = ${JSON.stringify(`#${view}`)}`);
  const tab = `tab-${view.split("/")[0]}`;
  await chrome.until(
    `document.querySelector('[aria-selected="true"]').id === "${tab}" && location.hash.length > 1`,
  );
}

async function curl(lab: LabHandle, pod: string, url: string): Promise<number> {
  const { code } = await lab.output(pod, ["curl", "-s", "-m", "2", "-o", "/dev/null", url]);
  return code;
}

async function topology(stage: Stage) {
  const { chrome, lab } = stage;
  await at(stage, "topology");
  const drawn = `document.querySelector("svg").textContent`;
  for (const { name, address } of lab.pods.filter(({ node }) => node === "node1")) {
    await chrome.until(`${drawn}.includes("default/${name} ${address}")`);
  }
  for (
    const part of [
      "pcnk0 [lbrp]",
      "pcnk_vxlan [k8sdispatcher]",
      "eth0 [k8sdispatcher] 192.168.50.11",
      "node2 10.244.2.0/24",
      "[hostlb]",
    ]
  ) {
    await chrome.until(`${drawn}.includes(${JSON.stringify(part)})`);
  }
  // What goes out by the uplink is seen at its device.
  await chrome.until(`document.querySelectorAll("svg .mark").length >= 4`);
  const busy =
    `[...document.querySelectorAll("svg .mark.busy")].some((one) => /[1-9].*\\/s/.test(one.textContent))`;
  const pinging = lab.command("pod1-1", ["ping", "-q", "-i", "0.05", "-w", "20", "198.51.100.10"], {
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    await chrome.until(busy);
  } finally {
    pinging.kill();
    await pinging.status;
  }
}

async function services(stage: Stage) {
  const { chrome, lab } = stage;
  await at(stage, "services");
  await chrome.until(row("default/echo-node1"));
  await chrome.until(row("default/weighted"));
  await chrome.click(`document.querySelector("input[type=search]")`);
  await chrome.type("ECHO-node");
  await chrome.until(`!${row("default/weighted")} && ${row("default/echo-node1")}`);
  assert.equal(await chrome.eval(`document.querySelectorAll("tbody tr").length`), 2);
  // The other way round.
  await chrome.click(`document.querySelector("th button")`);
  await chrome.until(`document.querySelector("tbody tr").innerText.includes("echo-node2")`);
  await chrome.click(`document.querySelector("th button")`);
  await chrome.until(`document.querySelector("tbody tr").innerText.includes("echo-node1")`);

  assert.equal(await curl(lab, "pod1-1", "http://10.96.1.1/"), 0);
  await chrome.until(`Number(${row("default/echo-node1")}.cells[3].innerText) >= 1`);
  await chrome.click(row("default/echo-node1"));
  for (const { name, address } of lab.pods.filter(({ node }) => node === "node1")) {
    await chrome.until(`${row(`${address}:8080`)}.innerText.includes("default/${name}")`);
  }
  assert.ok(!(await chrome.text()).includes("refuses"));
  await chrome.click(button("Its sessions"));
  await chrome.until(row("10.96.1.1:80 TCP"));
  await chrome.click(button("Services"));
  await chrome.until(row("default/weighted"));
}

async function refusing(stage: Stage) {
  const { chrome } = stage;
  await at(stage, "services");
  await chrome.click(button("Refusing only"));
  await chrome.until(`${row("default/empty")} && !${row("default/weighted")}`);
  await chrome.click(row("default/empty"));
  await chrome.shows(
    /connections are refused: there are no endpoints; .*its selector is app=empty/,
  );
  await chrome.shows(/No backends in the kernel: clients are refused/);
}

/** More rows than are sent at once. */
async function many(stage: Stage) {
  const { chrome, lab } = stage;
  const services = Array.from({ length: 120 }, (_, i) => ({
    name: `many-${i}`,
    address: `10.96.40.${i + 1}`,
    backends: lab.pods.slice(0, 1),
  }));
  lab.writeManifest("many", [...serviceManifests(services), ...endpointSliceManifests(services)]);
  await settle(lab.store, [...lab.services(), ...services]);
  await at(stage, "services");
  await chrome.press("/");
  await chrome.type("many-");
  await chrome.until(`${row("default/many-0")} && document.body.innerText.includes("1–50 of 120")`);
  assert.equal(await chrome.eval(`document.querySelectorAll("tbody tr").length`), 50);
  await chrome.press("Escape", "n", "n");
  await chrome.until(row("default/many-119"));
  assert.equal(await chrome.eval(`document.querySelectorAll("tbody tr").length`), 20);
}

async function drops(stage: Stage) {
  const { chrome, lab } = stage;
  // A service that is only for others drops what comes from here.
  await at(stage, "drops");
  const packets = (reason: string) =>
    `Number(${row(reason)}?.cells[2].innerText.replaceAll(",", "") ?? 0)`;
  await chrome.shows(/Dropped/);
  const before = await chrome.eval<number>(packets("drop_no_local_backend"));
  const refused = await chrome.eval<number>(packets("rejected_no_backend"));
  assert.notEqual(await curl(lab, "outside", "http://192.168.50.11:30091/"), 0);
  await chrome.until(`${packets("drop_no_local_backend")} > ${before}`);
  assert.equal(await curl(lab, "pod1-1", "http://10.96.0.11/"), 7);
  await chrome.until(`${packets("rejected_no_backend")} > ${refused}`);
}

async function events(stage: Stage) {
  const { chrome, lab } = stage;
  await at(stage, "events");
  await chrome.click(button("Listen"));
  await chrome.shows(/Listening/);
  await curl(lab, "pod1-1", "http://10.96.0.11/");
  await chrome.until(row("rejected_no_backend"));
  assert.match(
    await chrome.eval<string>(`${row("rejected_no_backend")}.innerText`),
    /TCP 10\.96\.0\.11:80 → 10\.244\.1\.\d+:\d+[^]*to default\/pod1-1/,
  );
  // Every flow of one Service, and none of another.
  await at(stage, "events/default/echo-node1");
  await chrome.press("l");
  await chrome.shows(/Listening/);
  await curl(lab, "pod1-1", "http://10.96.0.11/");
  await curl(lab, "pod1-1", "http://10.96.1.1/");
  await chrome.until(row("for 10.96.1.1:80"));
  assert.ok(!await chrome.eval(`Boolean(${row("10.96.0.11")})`));
  await chrome.click(button("Stop"));
  await chrome.until(button("Listen"));
}

async function keyboard(stage: Stage) {
  const { chrome } = stage;
  await at(stage, "topology");
  await chrome.until(`document.querySelector("svg")`);
  // Tab goes from the top to the tabs and into the view, and what has the focus is seen.
  const order: string[] = [];
  for (let i = 0; i < 5; i++) {
    await chrome.press("Tab");
    order.push(await chrome.eval<string>(focused));
  }
  assert.deepEqual(order, ["Skip to the view", "Pause", "Keys ?", "Topology", PICTURE]);
  const outline = await chrome.eval<string>(
    `getComputedStyle(document.activeElement).outlineStyle`,
  );
  assert.equal(outline, "solid");
  await chrome.press("2");
  await chrome.until(row("default/empty"));
  await chrome.press("/");
  await chrome.type("empty");
  await chrome.until(`${row("default/empty")} && !${row("default/echo")}`);
  await chrome.press("Escape", "j");
  assert.equal(await chrome.eval(focused), "default/empty");
  await chrome.press("Enter");
  await chrome.shows(/connections are refused/);
  await chrome.press("Escape");
  await chrome.until(row("default/echo"));
  await chrome.press("?");
  await chrome.until(
    `document.querySelector("dialog").open && document.querySelector("dialog").innerText.includes("next row")`,
  );
  await chrome.press("3"); // the list has the keys now
  assert.match(await chrome.eval<string>("location.hash"), /^#services/);
  await chrome.press("Escape");
  await chrome.until(`!document.querySelector("dialog").open`);
  await chrome.eval(`document.querySelector('[aria-selected="true"]').focus()`);
  await chrome.press("ArrowRight");
  await chrome.until(`location.hash === "#drops" && document.activeElement.innerText === "Drops"`);
}

/** No API server takes such names; something else may write to the maps, or to the records of pods. */
async function names(stage: Stage) {
  const { chrome, lab } = stage;
  const undo = hostile(lab);
  try {
    for (const view of ["services", "topology", "sessions", "drops", "status"]) {
      await at(stage, view);
      if (view === "services") await chrome.until(row("<img src=x onerror=alert(1)>"));
      if (view === "topology") {
        await chrome.until(
          `document.querySelector("svg").textContent.includes("<script>alert(2)</script>")`,
        );
      }
      await chrome.until(`document.querySelector("#view").children.length > 0`);
      const found =
        `document.querySelectorAll("#view script, #view img, #view iframe, [onerror]").length`;
      assert.equal(await chrome.eval(found), 0, view);
    }
  } finally {
    undo();
  }
}

async function withoutAgent(stage: Stage) {
  const { chrome, lab } = stage;
  await at(stage, "services/default/echo-node1");
  await chrome.until(row(":8080"));
  assert.equal(await lab.stopAgent("node1", true), "killed");
  try {
    await chrome.press("6");
    await chrome.shows(/agent\s+bad|agent\s+warn/);
    await chrome.press("2");
    await chrome.until(row("default/echo-node1"));
    await chrome.press("1");
    await chrome.until(`document.querySelector("svg")`);
    assert.ok(await chrome.eval(`document.querySelector("#banner").hidden`));
  } finally {
    await lab.startAgent("node1");
  }
}

async function strangers({ lab, ui }: Stage) {
  const asked = async (...args: string[]) =>
    (await lab.output("node1", ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", ...args]))
      .stdout;
  const page = "http://127.0.0.1:9880/ui/api/sessions";
  assert.equal(await asked(page), "401");
  assert.equal(await asked("-H", "Host: evil.example", ui.url), "403");
  assert.equal(await asked("-X", "POST", ui.url), "405");
  assert.equal(await asked("http://192.168.50.11:9880/ui/"), "000"); // no listener there
  assert.equal(await asked("http://127.0.0.1:9879/ui/"), "404"); // the agent's own is off
}

const STEPS: [string, (stage: Stage) => Promise<void>][] = [
  ["the topology has every pod and what goes through", topology],
  ["services are filtered, sorted and opened", services],
  ["a service without backends says why", refusing],
  ["a long list comes in pages", many],
  ["drops and refusals rise as packets are dropped", drops],
  ["events arrive, and only those that were asked for", events],
  ["all of it goes by the keyboard", keyboard],
  ["hostile names stay text", names],
  ["strangers are refused", strangers],
  ["while the agent is down the page answers", withoutAgent],
];

Deno.test({
  name: "pcnk ui, clicked through",
  ...needs,
  fn: (t) =>
    withPage("tpage", 2, async (lab, chrome) => {
      await using ui = await startUi(lab);
      await chrome.look(1100, 800);
      const only = { name: "only", address: "10.96.0.91", nodePort: 30091, local: true };
      const service = { ...only, backends: lab.pods.filter(({ node }) => node === "node2") };
      lab.writeManifest("only", [
        ...serviceManifests([service]),
        ...endpointSliceManifests([service]),
      ]);
      await settle(lab.store, [...lab.services(), service]);
      for (const [name, step] of STEPS) {
        await t.step({
          name,
          sanitizeResources: false,
          sanitizeOps: false,
          fn: async () => {
            await chrome.open("about:blank");
            chrome.complaints.length = 0; // of a step that failed
            await step({ lab, chrome, ui });
            assert.deepEqual(chrome.complaints.splice(0), []);
          },
        });
      }
    }),
});
