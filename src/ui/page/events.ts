/// <reference lib="dom" />
/** Packets as they happen: `pcnk monitor` in the page. */
import type { PacketEvent, PacketEvents } from "../types.ts";
import { button, count, el, pair } from "./dom.ts";
import { type Column, rows } from "./table.ts";
import type { MakeView } from "./view.ts";

/** Lines that are kept. */
const KEPT = 500;

const styleOf = ({ kind, reason }: PacketEvent) =>
  kind === "drop"
    ? "bad"
    : reason.startsWith("rejected_")
    ? "warn"
    : kind === "handled"
    ? "ok"
    : "";

const named = ({ from, to, service }: PacketEvent) =>
  [from && `from ${from}`, to && `to ${to}`, service && `for ${service}`].filter(Boolean).join(
    ", ",
  );

const COLUMNS: readonly Column<PacketEvent>[] = [
  { title: "Time (UTC)", cell: ({ time }) => el("span", { class: "mono" }, time.slice(11, 23)) },
  {
    title: "Reason",
    cell: (event) => el("span", { class: `badge ${styleOf(event)}` }, event.reason),
  },
  { title: "Flow", cell: (event) => pair(event.flow, named(event)) },
  { title: "Device", wide: true, cell: ({ device }) => device },
];

export const eventsView: MakeView = ({ root, go }, service) => {
  const body = el("tbody");
  const state = el("span", { class: "soft", role: "status" });
  const flows = el("input", { type: "checkbox", id: "flows" });
  flows.checked = service !== "";
  const sample = el(
    "select",
    { "aria-label": "Sample" },
    ...[1, 10, 100, 1000].map((n) =>
      el("option", { value: n }, n === 1 ? "every packet" : `one in ${n}`)
    ),
  );
  const toggle = button("Listen", () => source === undefined ? listen() : stop("Ended."), {
    "aria-keyshortcuts": "l",
    "data-key": "l",
  });
  let source: EventSource | undefined;
  let more = 0;

  root.replaceChildren(
    el(
      "div",
      { class: "bar" },
      toggle,
      el("label", { for: "flows" }, flows, "every flow, not only drops and refusals"),
      sample,
      button("Clear", () => body.replaceChildren()),
      state,
    ),
    ...service === "" ? [] : [
      el(
        "p",
        {},
        "Only to and from the Service ",
        el("b", {}, service),
        " and its backends. ",
        button("Show all", () => go("events"), { class: "link" }),
      ),
    ],
    el(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "events" },
      el(
        "table",
        {},
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            ...COLUMNS.map(({ title, wide }) =>
              el("th", { scope: "col", class: wide && "hide-narrow" }, title)
            ),
          ),
        ),
        body,
      ),
    ),
    el(
      "p",
      { class: "soft" },
      "The newest first. The kernel reports packets only to a listener, of which a node has one.",
    ),
  );
  flows.addEventListener("change", () => source && listen());
  sample.addEventListener("change", () => source && listen());

  function stop(why: string) {
    source?.close();
    source = undefined;
    toggle.textContent = "Listen";
    state.textContent = why;
  }

  function listen() {
    source?.close();
    more = 0;
    const query = new URLSearchParams({ oneIn: sample.value });
    if (flows.checked) query.set("flows", "1");
    if (service !== "") query.set("service", service);
    const own = source = new EventSource(`api/events?${query}`);
    toggle.textContent = "Stop";
    state.textContent = "Asking the kernel …";
    own.addEventListener("listening", () => state.textContent = "Listening.");
    own.addEventListener("problem", ({ data }) => stop(JSON.parse(data).error));
    own.addEventListener("message", ({ data }) => show(JSON.parse(data)));
    // It tries again by itself only where it was connected once.
    own.addEventListener("error", () => {
      if (source !== own) return;
      if (own.readyState === EventSource.CLOSED) {
        void explain(query).then((text) => source === own && stop(text));
      } else state.textContent = "Away; trying again …";
    });
  }

  /** EventSource does not report why it was refused; another request does. */
  async function explain(query: URLSearchParams): Promise<string> {
    const gone = new AbortController();
    try {
      const answer = await fetch(`api/events?${query}`, { signal: gone.signal });
      return answer.ok ? "It ended; listen again." : (await answer.json()).error;
    } catch {
      return "pcnk does not answer any more.";
    } finally {
      gone.abort();
    }
  }

  function show({ events, more: left }: PacketEvents) {
    const lines = rows(events.reverse(), COLUMNS);
    for (const line of lines) line.classList.add("fresh");
    body.prepend(...lines);
    while (body.rows.length > KEPT) body.deleteRow(-1);
    more += left;
    if (more > 0) {
      state.textContent = `Listening. ${count(more)} more were too many to show: take a sample.`;
    }
  }

  return {
    refresh: () => Promise.resolve(),
    leave: () => stop(""),
  };
};
