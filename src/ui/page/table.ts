/// <reference lib="dom" />
/** Tables: a plain one, and one of which the server sends a part at a time, filtered and sorted there. */
import type { Part } from "../types.ts";
import { ask } from "./ask.ts";
import { button, type Child, count, el } from "./dom.ts";
import type { Place, View } from "./view.ts";

export interface Column<R> {
  title: string;
  /** What the server sorts by; undefined: it does not. */
  sort?: string;
  number?: boolean;
  /** Left out where there is little room. */
  wide?: boolean;
  wrap?: boolean;
  cell(row: R): Child;
}

const classOf = <R>({ number, wide, wrap }: Column<R>) =>
  [number && "number", wide && "hide-narrow", wrap && "wrap"].filter(Boolean).join(" ") ||
  undefined;

/** Rows of a table's body. Where `open` is given, a click anywhere in a row opens it. */
export function rows<R>(
  list: readonly R[],
  columns: readonly Column<R>[],
  open?: (row: R) => void,
): HTMLTableRowElement[] {
  return list.map((row) => {
    const line = el(
      "tr",
      { class: open && "open" },
      ...columns.map((column) => el("td", { class: classOf(column) }, column.cell(row))),
    );
    if (open !== undefined) line.addEventListener("click", () => open(row));
    return line;
  });
}

/** A whole table in a frame that scrolls by itself. */
export function table<R>(
  label: string,
  list: readonly R[],
  columns: readonly Column<R>[],
  nothing: string,
): HTMLElement {
  if (list.length === 0) {
    return el("div", { class: "scroll" }, el("p", { class: "empty" }, nothing));
  }
  const head = el(
    "tr",
    {},
    ...columns.map((column) => el("th", { scope: "col", class: classOf(column) }, column.title)),
  );
  return el(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": label },
    el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows(list, columns))),
  );
}

interface ListOptions<R> {
  /** The question to the server. */
  question: string;
  label: string;
  columns: readonly Column<R>[];
  sort: string;
  placeholder: string;
  nothing: string;
  /** Below the table. */
  note: string;
  open?: (row: R) => void;
  /** Beside the filter. */
  more?: Child[];
}

const PAGE = 50;

/** A long list: filter, sortable heads, pages. */
export function listView<R>(
  place: Place,
  options: ListOptions<R>,
): View & { words(text: string): void } {
  const { columns, label, open } = options;
  let sort = options.sort, offset = 0, total = 0;
  const filter = el("input", {
    type: "search",
    placeholder: options.placeholder,
    "aria-label": `Filter ${label}`,
    autocomplete: "off",
    spellcheck: "false",
    maxlength: 200,
  });
  let typing: number | undefined;
  filter.addEventListener("input", () => {
    offset = 0;
    clearTimeout(typing);
    typing = setTimeout(place.again, 120) as unknown as number;
  });
  const heads = columns.map((column) => {
    const key = column.sort;
    const head = el("th", { scope: "col", class: classOf(column) });
    if (key === undefined) head.append(column.title);
    else {
      head.append(button(column.title, () => {
        // Numbers are most interesting from the top.
        sort = sort === key
          ? `-${key}`
          : sort === `-${key}`
          ? key
          : column.number
          ? `-${key}`
          : key;
        offset = 0;
        place.again();
      }));
    }
    return head;
  });
  const body = el("tbody");
  const nothing = el("p", { class: "empty", hidden: true }, options.nothing);
  const range = el("span", { class: "soft", role: "status" });
  const turn = (pages: 1 | -1) => {
    const next = offset + pages * PAGE;
    if (next < 0 || next >= total) return;
    offset = next;
    place.again();
  };
  const back = button("Back", () => turn(-1), { "aria-keyshortcuts": "p" });
  const on = button("Next", () => turn(1), { "aria-keyshortcuts": "n" });
  place.root.replaceChildren(
    el("div", { class: "bar" }, filter, ...options.more ?? [], range, back, on),
    el(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": label },
      el("table", {}, el("thead", {}, el("tr", {}, ...heads)), body),
      nothing,
    ),
    el("p", { class: "soft" }, options.note),
  );
  return {
    filter,
    turn,
    words(text) {
      filter.value = text;
      offset = 0;
      place.again();
    },
    async refresh(signal) {
      const query = { q: filter.value.trim(), sort, offset, limit: PAGE };
      const part = await ask<Part<R>>(options.question, query, signal);
      total = part.total;
      offset = part.offset;
      columns.forEach(({ title, sort: key }, i) => {
        const way = key === undefined ? "" : sort === key ? "▲" : sort === `-${key}` ? "▼" : "";
        heads[i]!.toggleAttribute("aria-sort", way !== "");
        if (way !== "") {
          heads[i]!.setAttribute("aria-sort", way === "▲" ? "ascending" : "descending");
        }
        if (key !== undefined) {
          heads[i]!.firstElementChild!.textContent = way ? `${title} ${way}` : title;
        }
      });
      keepFocus(body, () => body.replaceChildren(...rows(part.rows, columns, open)));
      nothing.hidden = part.total > 0;
      range.textContent = rangeText(part);
      const pages = part.total > part.rows.length;
      for (const one of [back, on]) one.hidden = !pages;
      back.disabled = offset === 0;
      on.disabled = offset + PAGE >= total;
    },
  };
}

function rangeText<R>({ total, all, offset, rows }: Part<R>): string {
  if (total === 0) return all === 0 ? "" : `none of ${count(all)}`;
  const shown = rows.length === total
    ? count(total)
    : `${count(offset + 1)}–${count(offset + rows.length)} of ${count(total)}`;
  return total === all ? shown : `${shown} (of ${count(all)} in all)`;
}

/** Draws anew, and puts the focus back to the row's button that had it. */
function keepFocus(body: HTMLElement, draw: () => void): void {
  const held = document.activeElement;
  const name = held instanceof HTMLElement && body.contains(held) ? held.dataset.name : undefined;
  draw();
  if (name === undefined) return;
  for (const one of body.querySelectorAll<HTMLElement>("[data-name]")) {
    if (one.dataset.name === name) return one.focus();
  }
}
