/** How are the entries of a file shown and changed by a form? */

import { get } from "../shared/api.js";
import { make } from "../shared/dom.js";
import { nameOf } from "../shared/texts.js";
import * as draft from "./draft.js";
import { FORMS, at, control, edits } from "./fields.js";
import { failure, head, mistakeList, quiet } from "./parts.js";
import { t } from "./texts.js";

/** @typedef {import("./ask.js").Entry} Entry @typedef {import("./fields.js").Around} Around */

/** Entries that the list shows; who looks for another one searches. */
const SHOWN_MAX = 300;

/** @type {Record<string, string>} What was searched, by section. */
const searched = {};

/**
 * Draws a section.
 * @param {HTMLElement} view @param {string} section @param {string | undefined} chosen an id, or `+` for a new one
 * @param {{areas: {code: string, names: Record<string, string>}[], say: (text: string, kind?: string) => void}} page
 */
export async function drawEntries(view, section, chosen, page) {
  const form = FORMS[section];
  const mayChange = draft.current()?.may_change ?? false;
  const exists = draft.names().includes(form.file);
  const items = exists ? await draft.entries(form.file) : [];
  const around = await surroundings(page.areas);
  const states = section === "sources" ? await sourceStates() : new Map();
  const list = make("ul", { class: "entries" });
  const search = make("input", { type: "search", value: searched[section] ?? "", "aria-label": t().search, placeholder: t().search });
  const fill = () => {
    searched[section] = search.value;
    const wanted = plain(search.value);
    const found = items.filter((one) => plain(`${one.id} ${label(one)} ${Object.values(one.value.names ?? {}).join(" ")}`).includes(wanted));
    list.replaceChildren(...found.slice(0, SHOWN_MAX).map((one) => {
      const state = states.get(one.id);
      return make("li", {}, make("a", { href: `#/${section}/${encodeURIComponent(one.id)}`, "aria-current": one.id === chosen ? "true" : undefined },
        make("span", { text: label(one) }), make("code", { class: "quiet small", text: one.id }),
        state !== undefined && make("span", { class: "badge", "data-state": state, text: t().sourceStates[/** @type {"fresh"} */ (state)] ?? state })));
    }));
    if (found.length === 0) list.append(make("li", {}, quiet(items.length ? t().notFound : t().none)));
    if (found.length > SHOWN_MAX) list.append(make("li", {}, quiet(t().showing(SHOWN_MAX, found.length))));
  };
  search.addEventListener("input", fill);
  fill();
  const mistakes = (draft.preview()?.mistakes ?? draft.current()?.mistakes ?? []).filter((one) => one.file === form.file);
  const side = make("div", { class: "entry" });
  view.replaceChildren(
    head(t()[/** @type {"kpis"} */ (section)], draft.isChanged(form.file) && make("span", { class: "badge warn", text: t().inChange }),
      make("a", { class: "button", href: `#/files/${form.file}`, text: t().asText }),
      mayChange && make("a", { class: "button", href: `#/${section}/+`, text: t().add })),
    ...(mistakes.length ? [mistakeList(mistakes)] : []),
    make("div", { class: "two", "data-chosen": chosen === undefined ? "no" : "yes" }, make("div", { class: "side panel" }, search, list), side),
  );
  const entry = items.find((one) => one.id === chosen);
  if (chosen === "+" && mayChange) side.append(formOf(section, null, around, true, page));
  else if (entry) side.append(formOf(section, entry, around, mayChange, page));
  else side.append(make("div", { class: "panel" }, quiet(t().choose)));
}

/** @param {string} section @param {Entry | null} entry @param {Around} around @param {boolean} mayChange @param {{say: (text: string, kind?: string) => void}} page */
function formOf(section, entry, around, mayChange, page) {
  const { file, fields } = FORMS[section];
  const shown = fields.filter((field) => !(field.newOnly && entry));
  const controls = shown.map((field) => ({ field, ...control(field, at(entry?.value, field.path), around, mayChange) }));
  const near = controls.filter((one) => !one.field.further).map((one) => one.node);
  const far = controls.filter((one) => one.field.further).map((one) => one.node);
  const known = new Set(fields.map((field) => field.path[0]));
  const others = Object.keys(entry?.value ?? {}).filter((key) => !known.has(key));
  const outcome = make("div", { class: "wide" });
  const node = make("form", { class: "panel entry-form", novalidate: true, "aria-labelledby": "entry-title" },
    make("a", { class: "button back", href: `#/${section}`, text: "←", "aria-label": t()[/** @type {"kpis"} */ (section)] }),
    make("h3", { id: "entry-title" }, entry ? label(entry) : t().newEntry, " ", entry && make("code", { class: "quiet small", text: `${entry.id} · ${t().lineOf(entry.line)}` })),
    make("div", { class: "grid" }, ...near),
    far.length > 0 && make("details", { class: "wide", open: entry === null }, make("summary", { text: t().further }), make("div", { class: "grid" }, ...far)),
    others.length > 0 && make("p", { class: "quiet small" }, `${t().otherKeys} `, make("code", { text: others.join(", ") })),
    outcome,
    mayChange && make("div", { class: "row" },
      make("button", { type: "submit", class: "main", text: t().keep }),
      entry && make("button", { type: "button", class: "bad", text: t().remove, onclick: () => void remove(entry.id) })));
  const remove = async (/** @type {string} */ id) => {
    if (!confirm(t().removeSure)) return;
    try {
      await draft.removeEntry(file, id);
      page.say(t().added(id));
      location.hash = `#/${section}`;
    } catch (error) {
      outcome.replaceChildren(failure(error));
    }
  };
  node.addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = controls.flatMap(({ field, read }) => edits(field.path, at(entry?.value, field.path), read()));
    if (wanted.length === 0) return outcome.replaceChildren(quiet(t().unchanged));
    const id = entry?.id ?? String(controls.find(({ field }) => field.path[0] === "id")?.read() ?? "");
    const submit = /** @type {HTMLButtonElement} */ (node.querySelector("[type=submit]"));
    submit.disabled = true;
    draft.edit(file, entry?.id ?? null, wanted).then(
      () => {
        page.say(t().added(id));
        if (entry === null) location.hash = `#/${section}/${encodeURIComponent(id)}`;
      },
      (error) => outcome.replaceChildren(failure(error)),
    ).finally(() => {
      submit.disabled = false;
    });
  });
  return node;
}

/** What a form offers to choose from. @param {{code: string, names: Record<string, string>}[]} areas @returns {Promise<Around>} */
async function surroundings(areas) {
  const of = async (/** @type {string} */ file) =>
    draft.names().includes(file) ? (await draft.entries(file).catch(() => [])).map((one) => ({ value: one.id, name: `${label(one)} (${one.id})` })) : [];
  const [agencies, units] = await Promise.all([of("agencies.toml"), of("units.toml")]);
  return { agencies, units, people: [], areas: areas.map((one) => ({ value: one.code, name: nameOf(one.names, one.code) })) };
}

/** @returns {Promise<Map<string, string>>} */
async function sourceStates() {
  /** @type {{items: {id: string, state: string}[]}} */
  const found = await get("/v1/sources").catch(() => ({ items: [] }));
  return new Map(found.items.map((one) => [one.id, one.state]));
}

/** @param {Entry} one */
const label = (one) => String(one.value.name ?? nameOf(one.value.names, one.id));

/** Without marks and case, so that "duong" finds "đường". @param {string} text */
export const plain = (text) => text.toLowerCase().normalize("NFD").replace(/\p{M}/gu, "").replace(/đ/g, "d");
