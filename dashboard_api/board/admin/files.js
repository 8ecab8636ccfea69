/** How is a file of the pack changed as text, added, loaded from a device or removed? */

import { make } from "../shared/dom.js";
import * as draft from "./draft.js";
import { failure, head, mistakeList, quiet } from "./parts.js";
import { t } from "./texts.js";
import { bytes } from "./words.js";

/** What a pack may have, besides layers' own files. */
const KNOWN = ["site.toml", "kpis.toml", "areas.csv", "lineage.csv", "areas.geojson", "reports.toml", "agencies.toml", "cases.toml", "calendar.toml", "clocks.toml", "units.toml", "dispatch.toml", "people.toml", "alerts.toml", "channels.toml", "layers.toml"];
/** A longer text is not put into the field: browsers become slow. It can be loaded from the device. */
const EDITED_CHARS_MAX = 400_000;

/**
 * @param {HTMLElement} view @param {string | undefined} chosen @param {number | undefined} line
 * @param {{say: (text: string, kind?: string) => void}} page
 */
export async function drawFiles(view, chosen, line, page) {
  const mayChange = draft.current()?.may_change ?? false;
  const names = draft.names();
  const sizes = new Map((draft.current()?.files ?? []).map((file) => [file.name, file.size]));
  const rows = names.map((name) => make("li", {}, make("a", { href: `#/files/${encodeURIComponent(name)}`, "aria-current": name === chosen ? "true" : undefined },
    make("code", { text: name }), make("span", { class: "quiet small", text: sizes.has(name) ? bytes(sizes.get(name) ?? 0) : "" }),
    draft.isChanged(name) && make("span", { class: "badge warn", text: t().inChange }))));
  const side = make("div", { class: "entry" });
  view.replaceChildren(head(t().files), make("p", { class: "quiet small" }, make("code", { text: draft.current()?.folder ?? "" })),
    make("div", { class: "two", "data-chosen": chosen === undefined ? "no" : "yes" },
      make("div", { class: "side panel" }, make("ul", { class: "entries" }, ...rows), mayChange && adder(names)), side));
  if (chosen === undefined) return;
  const text = await draft.text(chosen);
  side.append(editor(chosen, text, line, mayChange, names.includes(chosen), page));
}

/** @param {string[]} names */
function adder(names) {
  const name = make("input", { list: "pack-files", "aria-label": t().newFile, placeholder: t().fileName, autocomplete: "off" });
  const options = make("datalist", { id: "pack-files" }, ...KNOWN.filter((one) => !names.includes(one)).map((one) => new Option(one, one)));
  const form = make("form", { class: "fields" }, name, options, make("button", { type: "submit", text: t().newFile }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (name.value.trim() !== "") location.hash = `#/files/${encodeURIComponent(name.value.trim())}`;
  });
  return form;
}

/** @param {string} name @param {string} text @param {number | undefined} line @param {boolean} mayChange @param {boolean} exists @param {{say: (text: string, kind?: string) => void}} page */
function editor(name, text, line, mayChange, exists, page) {
  const isLong = text.length > EDITED_CHARS_MAX;
  const area = make("textarea", { class: "code editor", id: "editor", spellcheck: "false", autocapitalize: "off", wrap: "off", readonly: !mayChange || isLong, "aria-label": name });
  area.value = isLong ? `${text.slice(0, EDITED_CHARS_MAX)}\n…` : text;
  const numbers = make("pre", { class: "numbers", "aria-hidden": "true" });
  const number = () => {
    const count = area.value.split("\n").length;
    numbers.textContent = Array.from({ length: Math.min(count, 20_000) }, (_, n) => n + 1).join("\n");
    numbers.scrollTop = area.scrollTop;
  };
  area.addEventListener("input", number);
  area.addEventListener("scroll", () => {
    numbers.scrollTop = area.scrollTop;
  });
  number();
  const outcome = make("div");
  const put = async (/** @type {string | null} */ wanted) => {
    try {
      await draft.put(name, wanted);
      page.say(t().added(name));
    } catch (error) {
      outcome.replaceChildren(failure(error));
    }
  };
  const load = make("input", { type: "file", hidden: true, accept: ".toml,.csv,.geojson,.json,text/*" });
  load.addEventListener("change", async () => {
    const file = load.files?.[0];
    if (file) await put(await file.text());
  });
  const mistakes = (draft.preview()?.mistakes ?? draft.current()?.mistakes ?? []).filter((one) => one.file === name);
  const form = make("form", { class: "panel entry-form" },
    make("a", { class: "button back", href: "#/files", text: "←", "aria-label": t().files }),
    make("h3", {}, make("code", { text: name })),
    ...(mistakes.length ? [mistakeList(mistakes)] : []),
    isLong ? quiet(t().more) : null,
    make("div", { class: "code-frame" }, numbers, area),
    outcome,
    mayChange && make("div", { class: "row" },
      make("button", { type: "submit", class: "main", disabled: isLong, text: t().keep }),
      make("button", { type: "button", text: t().load, onclick: () => load.click() }), load,
      draft.isChanged(name) && make("button", { type: "button", text: t().restore, onclick: () => void draft.discard(name) }),
      exists && make("button", { type: "button", class: "bad", text: t().removeFile, onclick: () => void put(null) })));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void put(area.value);
  });
  if (line !== undefined) area.dataset.line = String(line);
  return form;
}

/** Selects the line that the address names and brings it into sight. Returns whether there is one. */
export function showLine() {
  const area = /** @type {HTMLTextAreaElement | null} */ (document.querySelector("#editor[data-line]"));
  if (area === null) return false;
  const line = Number(area.dataset.line);
  const lines = area.value.split("\n");
  const start = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
  area.focus();
  area.setSelectionRange(start, start + (lines[line - 1]?.length ?? 0));
  const height = Number.parseFloat(getComputedStyle(area).lineHeight) || 20;
  area.scrollTop = Math.max(0, (line - 4) * height);
  return true;
}
