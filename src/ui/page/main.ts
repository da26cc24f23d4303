/// <reference lib="dom" />
/**
 * The page: tabs, one view at a time, read again every two seconds while it is visible. The address after # says which view, so
 * going back works, and a link leads to a view.
 */
import type { Counters } from "../types.ts";
import { ask, AskError } from "./ask.ts";
import { button, byId, el, rate } from "./dom.ts";
import { dropsView, isRefusal } from "./drops.ts";
import { eventsView } from "./events.ts";
import { followKeys, moveFocus, showKeys } from "./keys.ts";
import { servicesView } from "./services.ts";
import { sessionsView } from "./sessions.ts";
import { statusView } from "./status.ts";
import { topologyView } from "./topology.ts";
import type { MakeView, View } from "./view.ts";

const EVERY_MS = 2000;

const VIEWS: readonly { id: string; title: string; make: MakeView }[] = [
  { id: "topology", title: "Topology", make: topologyView },
  { id: "services", title: "Services", make: servicesView },
  { id: "drops", title: "Drops", make: dropsView },
  { id: "sessions", title: "Sessions", make: sessionsView },
  { id: "events", title: "Events", make: eventsView },
  { id: "status", title: "Status", make: statusView },
];

const root = byId("view");
const banner = byId("banner");
const tabs = VIEWS.map(({ id, title }) =>
  button(title, () => go(id), { role: "tab", id: `tab-${id}`, "aria-controls": "view" })
);
let view: View | undefined;
let current = "";
let paused = false;
let reading: AbortController | undefined;
let timer: number | undefined;

function go(path: string): void {
  const next = `#${path.split("/").map(encodeURIComponent).join("/")}`;
  if (location.hash === next) show();
  else location.hash = next;
}

/** Turns to the view that the address names. */
function show(): void {
  let path = "";
  try {
    path = location.hash.slice(1).split("/").map(decodeURIComponent).join("/");
  } catch {
    // A damaged address: the first view.
  }
  const [id = ""] = path.split("/");
  const found = VIEWS.find((one) => one.id === id) ?? VIEWS[0]!;
  view?.leave?.();
  current = found.id;
  document.title = `pcnk · ${found.title}`;
  VIEWS.forEach(({ id }, i) => {
    tabs[i]!.setAttribute("aria-selected", String(id === current));
    tabs[i]!.tabIndex = id === current ? 0 : -1;
  });
  root.setAttribute("aria-labelledby", `tab-${current}`);
  root.replaceChildren(el("p", { class: "soft" }, "Reading the kernel …"));
  view = found.make({ root, again, go }, path.slice(id.length + 1));
  again();
}

/** Reads now, and then every two seconds; what was being read is given up. */
function again(): void {
  reading?.abort();
  clearTimeout(timer);
  const own = reading = new AbortController();
  void read(own.signal).then(() => {
    if (own.signal.aborted) return;
    timer = setTimeout(
      () => paused || document.hidden ? undefined : again(),
      EVERY_MS,
    ) as unknown as number;
  });
}

async function read(signal: AbortSignal): Promise<void> {
  try {
    await Promise.all([view?.refresh(signal), summary(signal)]);
    if (!signal.aborted) banner.hidden = true;
  } catch (error) {
    if (signal.aborted) return;
    banner.textContent = error instanceof AskError
      ? error.message
      : `This page has a fault: ${error}`;
    banner.hidden = false;
  }
}

/** What is always to be seen. */
async function summary(signal: AbortSignal): Promise<void> {
  const { node, counters } = await ask<Counters>("counters", {}, signal);
  const sum = (wanted: (row: Counters["counters"][number]) => boolean) => {
    const rates = counters.filter(wanted).map(({ perSecond }) => perSecond);
    return rates.every((one) => one === null) && rates.length > 0
      ? null
      : rates.reduce<number>((all, one) => all + (one ?? 0), 0);
  };
  const pairs: [string, number | null, string][] = [
    ["packets", sum(({ kind }) => kind === "handled" || kind === "pass" || kind === "drop"), ""],
    ["dropped", sum(({ kind }) => kind === "drop"), "bad"],
    ["refused", sum(isRefusal), "warn"],
  ];
  byId("node").textContent = node;
  byId("summary").replaceChildren(
    ...pairs.map(([name, value, style]) =>
      el(
        "div",
        {},
        el("dt", {}, name),
        el(
          "dd",
          { id: `sum-${name}`, class: value && style ? `badge ${style}` : undefined },
          rate(value),
        ),
      )
    ),
  );
}

function pause(): void {
  paused = !paused;
  const toggle = byId("pause");
  toggle.setAttribute("aria-pressed", String(paused));
  toggle.textContent = paused ? "Paused" : "Pause";
  if (!paused) again();
}

function turnTab(step: number): void {
  const at = VIEWS.findIndex(({ id }) => id === current);
  const next = (at + step + VIEWS.length) % VIEWS.length;
  tabs[next]!.focus();
  go(VIEWS[next]!.id);
}

/** From a detail to its list; out of a field to the view. */
function back(): void {
  if (document.activeElement instanceof HTMLInputElement) return document.activeElement.blur();
  if (location.hash.includes("/")) go(current);
}

byId("tabs").replaceChildren(...tabs);
byId("tabs").addEventListener("keydown", ({ key }) => {
  if (key === "ArrowRight") turnTab(1);
  if (key === "ArrowLeft") turnTab(-1);
});
byId("pause").addEventListener("click", pause);
byId("keys").addEventListener("click", showKeys);
globalThis.addEventListener("hashchange", show);
document.addEventListener(
  "visibilitychange",
  () => document.hidden || paused ? undefined : again(),
);
followKeys([
  {
    keys: VIEWS.map((_, i) => String(i + 1)),
    shown: `1 … ${VIEWS.length}`,
    does: VIEWS.map(({ title }) => title).join(", "),
    act: (key) => go(VIEWS[Number(key) - 1]!.id),
  },
  { keys: ["/"], shown: "/", does: "filter", act: () => view?.filter?.focus() },
  { keys: ["j", "ArrowDown"], shown: "j ↓", does: "next row", act: () => moveFocus(root, 1) },
  { keys: ["k", "ArrowUp"], shown: "k ↑", does: "previous row", act: () => moveFocus(root, -1) },
  { keys: ["n"], shown: "n", does: "next page of a list", act: () => view?.turn?.(1) },
  { keys: ["p"], shown: "p", does: "previous page of a list", act: () => view?.turn?.(-1) },
  {
    keys: ["l"],
    shown: "l",
    does: "listen to events, or stop",
    act: () => root.querySelector<HTMLButtonElement>('[data-key="l"]')?.click(),
  },
  { keys: [" "], shown: "Space", does: "pause, go on", act: pause },
  { keys: ["Escape"], shown: "Esc", does: "back", act: back },
  { keys: ["?"], shown: "?", does: "this list", act: showKeys },
]);
show();
