/** What do the sections show that are no list of entries: health, areas, dead letters, messages and history? */

import { get } from "../shared/api.js";
import { make } from "../shared/dom.js";
import { formatCount } from "../shared/format.js";
import { locale, nameOf } from "../shared/texts.js";
import { timeNode } from "../shared/time.js";
import { post } from "./ask.js";
import * as draft from "./draft.js";
import { plain } from "./entries.js";
import { diffNode, failure, head, previewParts, quiet, table } from "./parts.js";
import { t } from "./texts.js";
import { findingName, findingWords } from "./words.js";

/** @typedef {{code: string, names: Record<string, string>, kind: string, parent: string | null, id: string}} Area */
/** @typedef {{zone: string, areas: Area[], say: (text: string, kind?: string) => void, again: () => void}} Page */

const AREAS_SHOWN_MAX = 300;
const WORST = ["bad", "unknown", "warning", "good"];
const MARKS = { good: "✓", warning: "!", bad: "✕", unknown: "?" };

/** @param {HTMLElement} view @param {Page} page */
export async function drawHealth(view, page) {
  const found = await get("/v1/admin/health");
  /** @type {import("./ask.js").Finding[]} */
  const findings = [...found.findings].sort((a, b) => WORST.indexOf(a.state) - WORST.indexOf(b.state));
  const cards = findings.map((one) => {
    const [detail, remedy] = findingWords(one);
    return make("li", { class: "finding panel live", "data-state": one.state },
      make("p", { class: "finding-head" }, make("span", { class: "sign", "aria-hidden": "true", text: MARKS[one.state] }), make("strong", { text: findingName(one) }), make("span", { class: "badge", "data-state": one.state, text: t().states[one.state] })),
      make("p", { text: detail }),
      remedy !== "" && make("p", { class: "fix" }, make("strong", { text: `${t().remedy}: ` }), remedy));
  });
  const when = timeNode(found.time, Date.now(), page.zone);
  view.replaceChildren(
    head(t().health, make("span", { class: "quiet small" }, when)),
    make("p", { class: `overall notice ${found.state === "good" ? "good" : found.state === "bad" ? "bad" : "warn"}`, role: "status", text: t().overall[/** @type {"good"} */ (found.state)] }),
    make("ul", { class: "findings" }, ...cards),
  );
}

/** @param {HTMLElement} view @param {Page} page */
export async function drawAreas(view, page) {
  const names = new Map(page.areas.map((area) => [area.id, nameOf(area.names, area.code)]));
  const search = make("input", { type: "search", "aria-label": t().search, placeholder: t().search });
  const count = make("span", { class: "quiet small", role: "status" });
  const found = make("div");
  const fill = () => {
    const wanted = plain(search.value);
    const areas = page.areas.filter((area) => plain(`${area.code} ${Object.values(area.names).join(" ")}`).includes(wanted));
    count.textContent = t().showing(Math.min(areas.length, AREAS_SHOWN_MAX), page.areas.length);
    found.replaceChildren(table([t().code, t().name, t().kind, t().parent], areas.slice(0, AREAS_SHOWN_MAX).map((area) =>
      [make("code", { text: area.code }), nameOf(area.names, area.code), area.kind, area.parent === null ? "" : names.get(area.parent) ?? area.parent])));
  };
  search.addEventListener("input", fill);
  fill();
  const isOwn = draft.names().includes("areas.csv");
  view.replaceChildren(
    head(t().areas, count, make("a", { class: "button", href: `#/files/${isOwn ? "areas.csv" : "site.toml"}`, text: t().asText })),
    quiet(isOwn ? t().areasNote : t().areasFrom), search, found);
}

/** @param {HTMLElement} view @param {Page} page */
export async function drawLetters(view, page) {
  const found = await get("/v1/admin/letters");
  if (found.total === 0) return view.replaceChildren(head(t().letters), make("p", { class: "notice good", text: t().lettersNone }));
  const mayChange = draft.current()?.may_change ?? false;
  const outcome = make("div");
  const again = async (/** @type {unknown} */ body) => {
    outcome.replaceChildren(quiet(t().loading));
    try {
      const done = await post("letters/redrive", body);
      page.say(t().sent(done.sent, done.unreadable));
      page.again();
    } catch (error) {
      outcome.replaceChildren(failure(error));
    }
  };
  const reasons = found.reasons.map((/** @type {any} */ one) => [
    make("code", { text: one.reason }), formatCount(one.count, locale()), timeNode(one.newest, Date.now(), page.zone),
    make("button", { type: "button", disabled: one.readable === 0 || !mayChange, text: t().sendAgain(one.readable), title: t().sendSure, onclick: () => void again({ reason: one.reason }) }),
  ]);
  const letters = found.items.map((/** @type {any} */ one) => make("li", { class: "panel letter" },
    make("p", { class: "row" }, make("span", { class: "badge", "data-state": one.can_be_read ? "good" : "bad", text: one.can_be_read ? t().readable : t().unreadable }), make("code", { text: one.reason }), timeNode(one.at, Date.now(), page.zone), make("span", { class: "quiet small", text: one.origin })),
    one.problem !== "" && make("p", { text: one.problem }),
    one.fix !== "" && make("p", { class: "fix", text: one.fix }),
    make("details", {}, make("summary", { text: t().show }),
      make("pre", { class: "scroll", tabindex: "0", text: one.event === null ? "—" : JSON.stringify(one.event, null, 2) }),
      mayChange && repair(one, again, outcome))));
  view.replaceChildren(head(t().letters, make("span", { class: "quiet small", text: formatCount(found.total, locale()) })), quiet(t().lettersNote), outcome,
    table([t().reason, t().count, t().newest, ""], reasons), make("ul", { class: "stack" }, ...letters));
}

/** @param {any} letter @param {(body: unknown) => Promise<void>} again @param {HTMLElement} outcome */
function repair(letter, again, outcome) {
  const text = make("textarea", { class: "code", rows: "6", spellcheck: "false" });
  const form = make("form", { class: "fields" }, make("label", {}, make("span", { text: t().repairNote }), text), make("div", { class: "row" }, make("button", { type: "submit", text: t().repair })));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    try {
      void again({ repaired: { partition: letter.partition, offset: letter.offset, event: JSON.parse(text.value) } });
    } catch (error) {
      outcome.replaceChildren(failure(error));
    }
  });
  return form;
}

/** @param {HTMLElement} view @param {Page} page */
export async function drawMessages(view, page) {
  const found = await get("/v1/admin/outbox");
  if (found.items.length === 0) return view.replaceChildren(head(t().messages), make("p", { class: "notice good", text: t().messagesNone }));
  const retry = async () => {
    try {
      page.say(t().retried((await post("outbox/retry", {})).retried));
      page.again();
    } catch (error) {
      view.prepend(failure(error));
    }
  };
  const mayChange = draft.current()?.may_change ?? false;
  const rows = found.items.map((/** @type {any} */ one) => [
    make("code", { text: one.channel }),
    make("span", { class: "badge", "data-state": one.failed ? "bad" : "warning", text: one.failed ? t().givenUp : t().waits }),
    String(one.attempts), one.last_error ?? "—", make("code", { class: "small quiet", text: one.id }),
  ]);
  view.replaceChildren(
    head(t().messages, found.backlog.failed > 0 && make("button", { type: "button", class: "main", disabled: !mayChange, text: `${t().retryAll} (${found.backlog.failed})`, onclick: () => void retry() })),
    table([t().channel, t().state, t().attempts, t().lastError, "Id"], rows));
}

/** @param {HTMLElement} view @param {Page} page */
export async function drawHistory(view, page) {
  const found = await get("/v1/admin/changes");
  const mayChange = draft.current()?.may_change ?? false;
  const rows = found.items.map((/** @type {import("./ask.js").Change} */ one) => {
    const inside = make("div");
    const show = make("button", { type: "button", "aria-expanded": "false", text: t().show, onclick: async () => {
      const isOpen = show.getAttribute("aria-expanded") === "true";
      show.setAttribute("aria-expanded", String(!isOpen));
      show.textContent = isOpen ? t().show : t().hide;
      if (isOpen) return inside.replaceChildren();
      inside.replaceChildren(quiet(t().loading));
      try {
        inside.replaceChildren(...(await get(`/v1/admin/changes/${one.number}`)).diffs.map(diffNode));
      } catch (error) {
        inside.replaceChildren(failure(error));
      }
    } });
    return make("li", { class: "panel change-row" },
      make("p", { class: "row" }, make("strong", { text: `${one.number}` }), timeNode(one.at, Date.now(), page.zone), make("span", { text: one.name }), make("code", { class: "quiet small", text: one.who }), one.reverts !== null && make("span", { class: "badge", text: t().reverts(one.reverts) })),
      make("p", { class: "why", text: one.why }),
      make("p", { class: "quiet small", text: one.files.map((file) => file.name).join(", ") }),
      make("div", { class: "row" }, show, mayChange && make("a", { class: "button", href: `#/review/${one.number}`, text: t().revert })),
      inside);
  });
  view.replaceChildren(head(t().history),
    ...(found.broken_at === null ? [] : [make("p", { class: "notice bad", role: "alert", text: t().brokenHistory(found.broken_at) })]),
    rows.length ? make("ol", { class: "stack" }, ...rows) : quiet(t().noHistory));
}

/**
 * What is about to be changed, or, with a number, taken back.
 * @param {HTMLElement} view @param {string | undefined} number @param {Page} page
 */
export async function drawReview(view, number, page) {
  const title = number === undefined ? t().review : t().revertHead(Number(number));
  const preview = number === undefined ? draft.preview() : /** @type {import("./ask.js").Preview} */ (await post(`changes/${number}/revert`, { dry_run: true }));
  if (preview === null) return view.replaceChildren(head(title), quiet(draft.size() ? t().loading : t().nothingToReview));
  const why = make("textarea", { id: "why", rows: "2", maxlength: "500", required: true, placeholder: t().whyExample });
  const outcome = make("div");
  const mayApply = (draft.current()?.may_change ?? false) && preview.mistakes.length === 0;
  const button = make("button", { type: "submit", class: "main", disabled: !mayApply, text: number === undefined ? t().apply : t().revert });
  const form = make("form", { class: "panel fields apply" }, make("label", { for: "why" }, make("span", { text: t().why }), why), make("div", { class: "row" }, button), outcome);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      const done = number === undefined ? await draft.apply(why.value) : await post(`changes/${number}/revert`, { base: draft.current()?.version, why: why.value });
      page.say(t().applied(done.number), `applied:${done.number}`);
      // First away from here: what was taken back cannot be taken back again.
      location.hash = "#/history";
      if (number !== undefined) await draft.load();
    } catch (error) {
      const isStale = /** @type {any} */ (error).reason === "stale";
      outcome.replaceChildren(isStale ? make("p", { class: "notice warn", role: "alert", text: t().stale }) : failure(error));
      button.disabled = false;
      if (isStale) {
        await draft.load();
        if (number === undefined) await draft.look();
      }
    }
  });
  view.replaceChildren(head(title), make("div", { class: "stack" }, ...previewParts(preview), form));
}
