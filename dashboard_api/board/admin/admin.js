/**
 * The administrator's page: which section is shown, and what is about to be changed?
 *
 * The address after `#` names the section and what is open in it. What is changed is gathered in a draft of files
 * (`draft.js`), looked at as a whole, and applied at once.
 */

import { ApiError, get, signInLink } from "../shared/api.js";
import { at, make, say, setText } from "../shared/dom.js";
import { watchLink } from "../shared/pulse.js";
import { Session } from "../shared/session.js";
import { languageSwitch, nameOf, onLanguage, themeSwitch, translate } from "../shared/texts.js";
import { absolute } from "../shared/time.js";
import * as draft from "./draft.js";
import { drawEntries } from "./entries.js";
import { FORMS } from "./fields.js";
import { drawFiles, showLine } from "./files.js";
import { failure, quiet } from "./parts.js";
import { drawAreas, drawHealth, drawHistory, drawLetters, drawMessages, drawReview } from "./sections.js";
import { t } from "./texts.js";

const SECTIONS = /** @type {const} */ (["health", "kpis", "sources", "units", "people", "rules", "areas", "layers", "letters", "messages", "history", "files"]);
/** Health is looked at so often while it is shown. */
const HEALTH_EVERY_MS = 15_000;
const SAID_MS = 6_000;
/** So often it is looked whether an applied change is in force, and so many times. */
const IN_FORCE_EVERY_MS = 1_000;
const IN_FORCE_LOOKS_MAX = 30;

/** @type {Session} */
let session;
/** @type {{id: string, names: Record<string, string>, zone: string} | null} */
let site = null;
/** @type {import("./sections.js").Area[]} */
let areas = [];
let zone = "UTC";
let drawn = 0;
let isTyping = false;
/** The preview whose mistakes were brought into sight. @type {import("./ask.js").Preview | null} */
let told = null;
/** The section that is drawn. */
let shown = "";

const page = {
  get zone() {
    return zone;
  },
  get areas() {
    return areas;
  },
  say: announce,
  again: () => void draw(),
};

void start();

async function start() {
  languageSwitch(at("language"));
  themeSwitch(/** @type {HTMLSelectElement} */ (at("theme")));
  translate();
  try {
    session = new Session(await get("/v1/me"), showWho);
    showWho();
    await begin();
  } catch (error) {
    stateOf(error);
    return;
  }
  addEventListener("hashchange", () => {
    isTyping = false;
    // What was said of a change that was applied stays until it is in force; all else was about what is left.
    if (route()[0] !== "history") at("outcome").replaceChildren();
    void draw().then(() => {
      if (!showLine()) at("view").focus({ preventScroll: true });
    });
    scrollTo({ top: 0 });
  });
  addEventListener("beforeunload", (event) => {
    if (draft.size() > 0) event.preventDefault();
  });
  at("view").addEventListener("input", () => {
    isTyping = true;
  });
  at("view").addEventListener("submit", () => {
    isTyping = false;
  });
  draft.onDraft(() => {
    showDraft();
    showPack();
    // What somebody types is not drawn over by what the centre has found out.
    if (!isTyping) void draw().then(showMistakes);
  });
  onLanguage(() => {
    translate();
    showWho();
    showNav();
    showDraft();
    showPack();
    void draw();
  });
  setInterval(() => {
    if (route()[0] === "health" && document.visibilityState === "visible" && document.body.dataset.fresh === "yes") void draw();
  }, HEALTH_EVERY_MS);
  watchLink((isFresh, heardAtMs) => {
    document.body.dataset.fresh = isFresh ? "yes" : "no";
    say(at("banner"), isFresh ? "" : t().away(absolute(heardAtMs, Date.now(), zone)));
    if (isFresh) void draft.load().catch(() => undefined);
  });
}

async function begin() {
  const [found, tree] = await Promise.all([get("/v1/site"), get("/v1/areas"), draft.load()]);
  site = found;
  zone = found.zone;
  areas = tree.items.filter((/** @type {any} */ one) => one.list === tree.area_list);
  setText(at("site-name"), nameOf(found.names, found.id));
  document.title = `${t().title} · ${nameOf(found.names, found.id)}`;
  at("page").append(make("datalist", { id: "area-codes" }, ...areas.map((one) => new Option(nameOf(one.names, one.code), one.code))));
  at("page").hidden = false;
  showNav();
  showDraft();
  showPack();
  await draw();
  showLine();
}

/** @param {unknown} error */
function stateOf(error) {
  const root = at("state-page");
  root.hidden = false;
  at("page").hidden = true;
  const status = error instanceof ApiError ? error.status : -1;
  if (status === 401) root.replaceChildren(make("h2", { text: t().needSignIn }), make("a", { class: "button main", href: signInLink(), text: t().signIn }));
  else if (status === 403) root.replaceChildren(make("h2", { text: t().notAllowed }), quiet(t().notAllowedMore));
  else root.replaceChildren(failure(error), make("button", { type: "button", text: t().retry, onclick: () => location.reload() }));
}

function showWho() {
  session.show(at("who"), at("who-name"), /** @type {HTMLAnchorElement} */ (at("who-link")), { signIn: t().signIn, signOut: t().signOut });
}

/** @returns {string[]} */
function route() {
  const parts = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  return parts[0] === "" ? ["health"] : parts;
}

function showNav() {
  const here = route()[0];
  at("nav").replaceChildren(make("ul", {}, ...SECTIONS.map((one) => make("li", {}, make("a", { href: `#/${one}`, "aria-current": one === here ? "page" : undefined, text: t()[one] })))));
}

async function draw() {
  const [section, first, second] = route();
  drawn += 1;
  const mine = drawn;
  showNav();
  // Drawn apart and shown when it is whole, so that a late answer never replaces a newer section.
  const view = make("section");
  try {
    if (section === "kpis" || section in FORMS) await drawEntries(view, section, first, page);
    else if (section === "files") await drawFiles(view, first, second === undefined ? undefined : Number(second), page);
    else if (section === "review") await drawReview(view, first, page);
    else if (section === "areas") await drawAreas(view, page);
    else if (section === "letters") await drawLetters(view, page);
    else if (section === "messages") await drawMessages(view, page);
    else if (section === "history") await drawHistory(view, page);
    else await drawHealth(view, page);
  } catch (error) {
    if (error instanceof ApiError && (error.status === 401 || error.status === 403) && mine === drawn) return stateOf(error);
    view.replaceChildren(make("h2", { id: "view-title", text: t()[/** @type {"kpis"} */ (section)] ?? "" }), failure(error));
  }
  if (mine !== drawn) return;
  const list = () => at("view").querySelector(".side");
  const before = list()?.scrollTop ?? 0;
  at("view").replaceChildren(...view.childNodes);
  keepInSight(list(), section === shown ? before : 0);
  shown = section;
}

/** What the centre has just found wrong comes into sight, once. */
function showMistakes() {
  const found = draft.preview();
  if (found === told) return;
  told = found;
  if (found?.mistakes.length) at("view").querySelector(".mistakes")?.scrollIntoView({ block: "center" });
}

/** A list stays where it was, or goes to what is open. @param {Element | null} list @param {number} top */
function keepInSight(list, top) {
  if (list === null) return;
  list.scrollTop = top;
  const open = /** @type {HTMLElement | null} */ (list.querySelector("[aria-current]"));
  if (open === null) return;
  const isSeen = open.offsetTop >= top && open.offsetTop + open.offsetHeight <= top + list.clientHeight;
  if (!isSeen) list.scrollTop = open.offsetTop - list.clientHeight / 3;
}

/** What is gathered and not applied. */
function showDraft() {
  const bar = at("draft");
  const n = draft.size();
  bar.hidden = n === 0 || route()[0] === "review";
  if (n === 0) return bar.replaceChildren();
  const preview = draft.preview();
  const state = preview === null ? t().checking : preview.mistakes.length ? t().mistakes(preview.mistakes.length) : t().fine;
  bar.replaceChildren(
    make("span", {}, make("strong", { text: t().changed(n) }), " · ", make("span", { class: preview?.mistakes.length ? "wrong" : "quiet", text: state })),
    make("span", { class: "row" },
      make("button", { type: "button", class: "plain", text: t().discard, onclick: () => {
        if (confirm(t().discardSure)) void draft.discard();
      } }),
      make("a", { class: "button main", href: "#/review", text: t().toReview })));
}

/** What keeps the pack from being changed, or from being in force. */
function showPack() {
  const pack = draft.current();
  if (pack === null) return;
  const found = [];
  if (pack.problem !== "") found.push(make("div", { class: "notice bad", role: "alert" }, make("p", {}, make("strong", { text: t().broken }), ": ", pack.problem)));
  if (!pack.may_change) found.push(make("div", { class: "notice warn" }, make("p", {}, make("strong", { text: t().readOnly }), `: ${pack.why_not}.`), make("p", { class: "fix", text: pack.fix })));
  at("notices").replaceChildren(...found);
}

let saidAt = 0;
/** @param {string} text @param {string} [kind] `applied:<number>` is followed until it is in force */
function announce(text, kind = "") {
  const root = at("outcome");
  root.replaceChildren(make("p", { class: "notice good", text }));
  saidAt = Date.now();
  const mine = saidAt;
  if (kind.startsWith("applied:")) return void follow(Number(kind.slice("applied:".length)));
  setTimeout(() => {
    if (mine === saidAt) root.replaceChildren();
  }, SAID_MS);
}

/** @param {number} number */
async function follow(number) {
  for (let n = 0; n < IN_FORCE_LOOKS_MAX; n += 1) {
    await new Promise((done) => setTimeout(done, IN_FORCE_EVERY_MS));
    const pack = await draft.load().catch(() => null);
    if (pack?.is_in_force) return announce(t().inForce(number));
  }
}

addEventListener("hashchange", showDraft);
