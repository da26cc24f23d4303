/// <reference lib="dom" />
/** Flows that the kernel translates. */
import type { SessionNow } from "../types.ts";
import { age, el, pair } from "./dom.ts";
import { listView } from "./table.ts";
import type { MakeView } from "./view.ts";

const STATE: Readonly<Record<SessionNow["state"], string>> = {
  new: "warn",
  established: "ok",
  closing: "",
  closed: "",
};

export const sessionsView: MakeView = (place, path) => {
  const view = listView<SessionNow>(place, {
    question: "sessions",
    label: "sessions",
    sort: "idleSeconds",
    placeholder: "address, port, pod, Service or state",
    nothing: "No session fits.",
    note:
      "As: what the client arrives as, where that is not its own address. Sessions that have timed out are not shown.",
    columns: [
      { title: "Client", sort: "client", cell: ({ client, pod }) => pair(client, pod) },
      {
        title: "To",
        sort: "to",
        cell: ({ to, protocol, namespace, service, kind }) =>
          pair(
            `${to} ${protocol}`,
            kind === "masquerade" ? "the world" : `${namespace}/${service}`,
          ),
      },
      {
        title: "Arrives at",
        sort: "backend",
        wide: true,
        cell: ({ kind, backend, to, as }) =>
          pair(kind === "masquerade" ? to : backend, as && `as ${as}`),
      },
      {
        title: "State",
        sort: "state",
        cell: ({ state }) => el("span", { class: `badge ${STATE[state]}` }, state),
      },
      {
        title: "Idle",
        sort: "idleSeconds",
        number: true,
        cell: ({ idleSeconds }) => age(idleSeconds),
      },
    ],
  });
  if (path !== "" && view.filter) view.filter.value = path;
  return view;
};
