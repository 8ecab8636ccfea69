/** How does the work list look? Rows are kept while their case is listed, so that the focus stays where it is. */

import { make, setText } from "../shared/dom.js";
import { nameOf, titleOf, word } from "../shared/texts.js";
import { absolute, relative, remaining } from "../shared/time.js";
import { t } from "./texts.js";
import { SEVERE } from "./work.js";

/** @typedef {import("./work.js").Item} Item */

/** A clock that has so little left stands out. */
const SOON_MS = 30 * 60_000;

export class List {
  /** @param {HTMLElement} root @param {(id: string) => void} open */
  constructor(root, open) {
    this.root = root;
    this.open = open;
    /** @type {Map<string, {node: HTMLLIElement, button: HTMLButtonElement, due: HTMLElement, age: HTMLElement, drawn: string}>} */
    this.rows = new Map();
    /** The row that somebody has gone to; null while nobody has. @type {string | null} */
    this.cursor = null;
  }

  /**
   * @param {Item[]} items @param {{nowMs: number, zone: string, opened: string | null, fresh: Set<string>,
   *   changed: Set<string>, area: (id: string) => string, agency: (id: string) => string, language: string}} scene
   */
  draw(items, scene) {
    const shown = new Set(items.map((item) => item.id));
    for (const [id, row] of this.rows) {
      if (shown.has(id)) continue;
      const hadFocus = row.node.contains(document.activeElement);
      const near = hadFocus ? row.node.nextElementSibling ?? row.node.previousElementSibling : null;
      row.node.remove();
      this.rows.delete(id);
      if (near) /** @type {HTMLElement | null} */ (near.querySelector("button"))?.focus();
    }
    if (this.cursor !== null && !shown.has(this.cursor)) this.cursor = null;
    const entry = this.cursor ?? items[0]?.id;
    items.forEach((item, place) => {
      const row = this.rows.get(item.id) ?? this.#row(item.id);
      const mark = scene.fresh.has(item.id) ? "new" : scene.changed.has(item.id) ? "changed" : "";
      const signature = [item.version, scene.language, mark, place].join(" ");
      if (row.drawn !== signature) {
        this.#fill(row, item, mark, scene);
        row.drawn = signature;
      }
      row.button.tabIndex = item.id === entry ? 0 : -1;
      if (item.id === scene.opened) row.button.setAttribute("aria-current", "true");
      else row.button.removeAttribute("aria-current");
      row.node.classList.toggle("flash", SEVERE.has(item.severity) && !item.acknowledged_by);
      const dueMs = item.due_at ? Date.parse(item.due_at) : null;
      row.node.dataset.due = dueMs === null ? "none" : dueMs < scene.nowMs ? "over" : dueMs < scene.nowMs + SOON_MS ? "soon" : "later";
      setText(row.due, dueMs === null ? t().noClock : remaining((dueMs - scene.nowMs) / 1000));
      row.due.title = dueMs === null ? "" : absolute(dueMs, scene.nowMs, scene.zone);
      setText(row.age, relative(item.opened_at, scene.nowMs));
      if (this.root.children[place] !== row.node) this.#place(row.node, place);
    });
  }

  /** Moves to the row so many further down, and gives it the focus. @param {number} by */
  move(by) {
    const ids = [...this.root.children].map((node) => /** @type {HTMLElement} */ (node).dataset.id ?? "");
    if (ids.length === 0) return;
    const inside = this.root.contains(document.activeElement);
    const from = this.cursor === null ? -1 : ids.indexOf(this.cursor);
    const to = inside ? Math.min(ids.length - 1, Math.max(0, from + by)) : Math.max(0, from);
    this.focus(ids[to]);
  }

  /** @param {string | null} [id] */
  focus(id = this.cursor) {
    const row = id === null ? undefined : this.rows.get(id);
    if (!row) return this.root.focus();
    this.cursor = id;
    for (const one of this.rows.values()) one.button.tabIndex = one === row ? 0 : -1;
    row.button.focus();
    row.node.scrollIntoView({ block: "nearest" });
  }

  /** Moving a node takes its focus away, so it is given back. @param {HTMLElement} node @param {number} place */
  #place(node, place) {
    const focused = node.contains(document.activeElement) ? /** @type {HTMLElement} */ (document.activeElement) : null;
    this.root.insertBefore(node, this.root.children[place] ?? null);
    focused?.focus();
  }

  /** @param {string} id */
  #row(id) {
    const button = make("button", { type: "button", class: "case-row", onclick: () => { this.cursor = id; this.open(id); } });
    const row = { node: make("li", { "data-id": id }, button), button, due: make("span", { class: "row-due" }), age: make("span", {}), drawn: "" };
    button.addEventListener("focus", () => { this.cursor = id; });
    this.rows.set(id, row);
    return row;
  }

  /** @param {NonNullable<ReturnType<List["rows"]["get"]>>} row @param {Item} item @param {string} mark @param {any} scene */
  #fill(row, item, mark, scene) {
    row.node.dataset.severity = item.severity;
    row.button.replaceChildren(
      make("span", { class: "row-title" },
        mark !== "" && make("span", { class: "mark", text: mark === "new" ? t().isNew : t().changed }),
        make("span", { class: "row-name", text: titleOf(item) })),
      make("span", { class: "row-facts" },
        make("span", { class: "badge", "data-severity": item.severity, text: word("severity", item.severity) }),
        make("span", { class: "row-state", text: word("state", item.state) }),
        item.exercise && make("span", { class: "badge", "data-exercise": "", text: t().exercise }), row.due),
      make("span", { class: "row-about quiet" },
        make("span", { text: [nameOf(item.names, item.category), scene.area(item.area), item.agency ? scene.agency(item.agency) : t().nobody].join(" · ") }),
        item.members > 1 && make("span", { text: t().signals(item.members) }), row.age),
    );
  }
}
