/// <reference lib="dom" />
/** Services, and one of them with its backends. */
import type { BackendNow, ServiceDetail, ServiceNow, Why } from "../types.ts";
import { ask, AskError } from "./ask.ts";
import { amount, button, type Child, count, el, paleRate } from "./dom.ts";
import { type Column, listView, table } from "./table.ts";
import type { MakeView, Place, View } from "./view.ts";

export const servicesView: MakeView = (place, path) =>
  path === "" ? list(place) : detail(place, path);

function backendsBadge({ backends, refuses }: ServiceNow): Child {
  if (!refuses) return count(backends);
  return el("span", { class: "badge bad" }, backends === 0 ? "refuses" : "a port refuses");
}

function list(place: Place): View {
  const refusing = button("Refusing only", () => view.words("is:refusing"));
  const view = listView<ServiceNow>(place, {
    question: "services",
    label: "services",
    sort: "name",
    placeholder: "name, address or port",
    nothing: "No Service fits.",
    note:
      "The kernel counts packets by what became of them, not by Service: a Service's traffic is that of its sessions. " +
      "Active: a packet within five seconds. What the node's own processes open is translated when they connect, and has " +
      "no session.",
    more: [refusing],
    open: ({ name }) => place.go(`services/${name}`),
    columns: [
      {
        title: "Service",
        sort: "name",
        // For the keyboard; what a click does, the row does.
        cell: ({ name }) => button(name, () => {}, { class: "link", "data-name": name }),
      },
      {
        title: "Frontend",
        cell: ({ frontends: [first = "", ...more] }) =>
          more.length === 0 ? first : `${first} and ${more.length} more`,
        wide: true,
      },
      { title: "Backends", sort: "backends", number: true, cell: backendsBadge },
      {
        title: "Sessions",
        sort: "sessions",
        number: true,
        wide: true,
        cell: ({ sessions }) => amount(sessions),
      },
      { title: "Active", sort: "active", number: true, cell: ({ active }) => amount(active) },
      {
        title: "New",
        sort: "opened",
        number: true,
        wide: true,
        cell: ({ opened }) => paleRate(opened),
      },
    ],
  });
  return view;
}

const BACKENDS: readonly Column<BackendNow>[] = [
  { title: "Backend", cell: ({ address, backendPort }) => `${address}:${backendPort}` },
  { title: "Port", cell: ({ port, protocol }) => `${port}/${protocol}` },
  { title: "Pod", cell: ({ pod }) => pod ?? "" },
  { title: "Node", cell: ({ node }) => node ?? "unknown" },
  {
    title: "State",
    cell: ({ terminating }) =>
      el(
        "span",
        { class: `badge ${terminating ? "warn" : "ok"}` },
        terminating ? "terminating" : "serving",
      ),
  },
  { title: "Weight", number: true, wide: true, cell: ({ weight }) => String(weight) },
  { title: "Sessions", number: true, cell: ({ sessions }) => amount(sessions) },
  { title: "Active", number: true, cell: ({ active }) => amount(active) },
];

const FRONTENDS: readonly Column<ServiceDetail["frontends"][number]>[] = [
  { title: "Frontend", cell: ({ address, frontendPort }) => `${address}:${frontendPort}` },
  { title: "Port", cell: ({ port, protocol }) => `${port}/${protocol}` },
  { title: "From", cell: ({ from }) => from },
  { title: "Algorithm", wide: true, cell: ({ algorithm }) => algorithm },
  {
    title: "Affinity",
    wide: true,
    cell: ({ affinitySeconds }) => affinitySeconds === 0 ? "none" : `${affinitySeconds}s`,
  },
  {
    title: "Backends",
    number: true,
    cell: ({ backends, localOnly }) => {
      if (backends > 0) return count(backends);
      return localOnly
        ? el("span", { class: "badge warn" }, "none here: drops")
        : el("span", { class: "badge bad" }, "refuses");
    },
  },
];

function detail(place: Place, name: string): View {
  const why = el("div", { role: "status" });
  const content = el("div");
  place.root.replaceChildren(
    el(
      "div",
      { class: "bar" },
      button("← All services", () => place.go("services"), { "aria-keyshortcuts": "Escape" }),
      button("Its sessions", () => place.go(`sessions/${name}`)),
      button("Its packets", () => place.go(`events/${name}`)),
    ),
    el("h2", { class: "title" }, name),
    why,
    content,
  );
  let asked = false;
  return {
    async refresh(signal) {
      const { frontends, backends } = await ask<ServiceDetail>("service", { name }, signal);
      content.replaceChildren(
        el("h2", {}, "Frontends"),
        table("Frontends", frontends, FRONTENDS, "No entry in the kernel."),
        el("h2", {}, "Backends"),
        table("Backends", backends, BACKENDS, "No backends in the kernel: clients are refused."),
      );
      const refuses = frontends.some(({ backends: each, localOnly }) => each === 0 && !localOnly);
      if (!refuses) why.replaceChildren();
      if (refuses && !asked) {
        asked = true;
        void explain(why, name);
      }
    },
  };
}

/** What the cluster says of a Service that refuses. */
async function explain(into: HTMLElement, name: string): Promise<void> {
  into.replaceChildren(el("p", { class: "why" }, "Clients are refused. Asking the cluster why …"));
  try {
    const { findings } = await ask<Why>("why", { name });
    into.replaceChildren(
      ...findings.map(({ good, text }) => el("p", { class: good ? "why good" : "why" }, text)),
    );
  } catch (error) {
    const text = error instanceof AskError ? error.message : String(error);
    into.replaceChildren(
      el(
        "p",
        { class: "why" },
        "Clients are refused: the kernel has no backends. What the cluster says could not be read: ",
        text,
      ),
    );
  }
}
