/// <reference lib="dom" />
/** Elements out of plain values. Text only ever becomes a text node: nothing that a name says can be markup. */

export type Child = Node | string | number | undefined | false;

/** Attributes; `class`, `aria-label`, …; false and undefined leave one out, true sets it empty. */
type Attributes = Record<string, string | number | boolean | undefined>;

export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) {
    if (child === undefined || child === false) continue;
    element.append(typeof child === "number" ? String(child) : child);
  }
  return element;
}

/** The element of index.html with this id. */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

/** A button that does something. */
export function button(text: string, act: () => void, attributes: Attributes = {}) {
  const made = el("button", { type: "button", ...attributes }, text);
  made.addEventListener("click", act);
  return made;
}

const whole = new Intl.NumberFormat("en");

export function count(value: number): string {
  return whole.format(value);
}

/** A number in a table: nought is pale, so that the others are seen. */
export function amount(value: number): Child {
  return value === 0 ? el("span", { class: "soft" }, "0") : count(value);
}

/** The same of a rate. */
export function paleRate(value: number | null): Child {
  return value === 0 || value === null ? el("span", { class: "soft" }, rate(value)) : rate(value);
}

/** Two lines in a cell, the second one pale. */
export function pair(first: string, second: string | undefined): Child {
  return second ? el("div", {}, first, el("div", { class: "next" }, second)) : first;
}

/** `–` unknown, `0`, `0.4/s`, `12/s`, `1.2k/s`. */
export function rate(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  if (value < 10) return `${value.toFixed(1)}/s`;
  if (value < 1000) return `${Math.round(value)}/s`;
  if (value < 1e6) return `${(value / 1000).toFixed(1)}k/s`;
  return `${(value / 1e6).toFixed(1)}M/s`;
}

/** `3s`, `5m`, `3h`, `2d` */
export function age(seconds: number): string {
  if (seconds < 120) return `${Math.floor(seconds)}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86400)}d`;
}
