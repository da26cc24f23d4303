/**
 * Pictures of the page, out of a lab: the documentation's, or others to look at.
 *
 *   look.ts docs         docs/pictures/ui-*.png
 *   look.ts FOLDER       every view, at several widths, light and dark
 */
import type { LabHandle } from "../../src/lab/lab.ts";
import { endpointSliceManifests, serviceManifests } from "../../src/lab/manifests.ts";
import type { Chrome } from "./support/chrome.ts";
import { startUi, withPage } from "./support/stage.ts";

/** Many services, so that a list is one; traffic that is like a shop's. */
function fill(lab: LabHandle): void {
  const names = [
    "cart",
    "catalog",
    "checkout",
    "currency",
    "mail",
    "payment",
    "search",
    "shipping",
  ];
  const services = names.map((name, i) => ({
    name,
    address: `10.96.20.${i + 1}`,
    backends: i === 4 ? [] : lab.pods.filter((_, j) => j <= i % 4),
  }));
  lab.writeManifest("shop", [...serviceManifests(services), ...endpointSliceManifests(services)]);
}

/** Requests until it is stopped. */
function traffic(lab: LabHandle, pod: string, url: string, seconds: string): Deno.ChildProcess {
  const script = `while :; do curl -s -m 2 ${url} >/dev/null; sleep ${seconds}; done`;
  const io = { stdin: "null", stdout: "null", stderr: "null" } as const;
  return lab.command(pod, ["sh", "-c", script], io).spawn();
}

const VIEWS = [
  "topology",
  "services",
  "services/default/mail",
  "drops",
  "sessions",
  "events",
  "status",
];

/** With the height that they need. */
const FOR_DOCS = [
  ["topology", 400],
  ["services", 620],
  ["services/default/mail", 560],
  ["events", 480],
] as const;

async function show(chrome: Chrome, view: string): Promise<void> {
  await chrome.eval(`location.hash = "#${view}"`);
  await chrome.eval("new Promise((done) => setTimeout(done, 2600))"); // a second look, for rates
  if (view !== "events") return;
  await chrome.click(`document.querySelector("#flows")`);
  await chrome.eval(`document.querySelector("select").value = "10"`);
  await chrome.press("l");
  await chrome.shows(/rejected_/);
  await chrome.eval("new Promise((done) => setTimeout(done, 2000))");
}

async function save(chrome: Chrome, path: string): Promise<void> {
  await Deno.writeFile(path, await chrome.picture());
  console.log(path);
}

async function main(where: string): Promise<void> {
  await withPage("tlook", 3, async (lab, chrome) => {
    fill(lab);
    await using ui = await startUi(lab);
    const [first, second] = lab.pods.filter(({ node }) => node === "node1").map(({ name }) =>
      name
    ) as [string, string];
    const running = [
      traffic(lab, first, "10.96.0.10", "0.05"),
      traffic(lab, second, "10.96.20.3", "0.1"),
      traffic(lab, second, "10.96.20.5", "1"),
      traffic(lab, first, "198.51.100.10:8080", "0.3"),
    ];
    try {
      await chrome.look(1100, 620);
      await chrome.open(ui.url);
      if (where === "docs") {
        for (const [view, height] of FOR_DOCS) {
          await chrome.look(1100, height);
          await show(chrome, view);
          await save(chrome, `docs/pictures/ui-${view.split("/").at(-1)}.png`);
        }
        return;
      }
      for (
        const [width, dark] of [[400, false], [900, false], [1400, false], [1400, true]] as const
      ) {
        await chrome.look(width, 800, dark);
        for (const view of VIEWS) {
          await show(chrome, view);
          await save(
            chrome,
            `${where}/${view.replaceAll("/", "-")}-${width}${dark ? "-dark" : ""}.png`,
          );
        }
      }
    } finally {
      for (const one of running) {
        one.kill();
        await one.status;
      }
    }
  });
}

await main(Deno.args[0] ?? "docs");
