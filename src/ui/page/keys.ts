/// <reference lib="dom" />
/** What keys do; the list that `?` shows comes from the same table. */
import { button, byId, el } from "./dom.ts";

interface Key {
  keys: readonly string[];
  /** As the list shows them. */
  shown: string;
  does: string;
  act(key: string): void;
}

/** Listens to keys, but not while the user types. */
export function followKeys(keys: readonly Key[]): void {
  const dialog = byId<HTMLDialogElement>("help");
  const list = keys.flatMap(({ shown, does }) => [
    el("dt", {}, ...shown.split(" ").map((key) => el("kbd", {}, key))),
    el("dd", {}, does),
  ]);
  dialog.replaceChildren(
    el("h2", { id: "help-title" }, "Keys"),
    el("dl", {}, ...list),
    button("Close", () => dialog.close()),
  );
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || dialog.open) return;
    const field = event.target instanceof HTMLInputElement && event.target.type !== "checkbox" ||
      event.target instanceof HTMLSelectElement;
    if (field && event.key !== "Escape") return;
    const found = keys.find((one) => one.keys.includes(event.key));
    if (found === undefined) return;
    event.preventDefault();
    found.act(event.key);
  });
}

/** Shows the list. */
export function showKeys(): void {
  byId<HTMLDialogElement>("help").showModal();
}

/** The focus to the next or previous thing in the view that a row can be opened by. */
export function moveFocus(root: HTMLElement, step: 1 | -1): void {
  const all = [...root.querySelectorAll<HTMLElement>("tbody button")];
  const at = all.indexOf(document.activeElement as HTMLElement);
  const next = at < 0 ? (step > 0 ? 0 : all.length - 1) : at + step;
  all[Math.min(Math.max(next, 0), all.length - 1)]?.focus();
}
