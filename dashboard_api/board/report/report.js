/**
 * Does somebody report, or follow a report?
 *
 * The address says so: what comes after `#` is a report's secret. Browsers send that part to nobody; the page puts it
 * into a header.
 */

import { get } from "../shared/api.js";
import { at, make, say } from "../shared/dom.js";
import { watchLink } from "../shared/pulse.js";
import { languageSwitch, nameOf, onLanguage, themeSwitch, translate } from "../shared/texts.js";
import { absolute } from "../shared/time.js";
import { forgetReport, keepReport, keptReports } from "./draft.js";
import { Follow } from "./follow.js";
import { CONDUCT, Form } from "./form.js";
import { texts } from "./texts.js";

const LOAD_AGAIN_MS = 3000;
const SECRET = /^#([A-Za-z0-9_-]{16,128})$/;

/** @type {({names: Record<string, string>, zone: string} & import("./form.js").Choices) | null} */
let site = null;
/** @type {Form | null} */
let form = null;
/** @type {Follow | null} */
let follow = null;
/** @type {{reported: import("./send.js").Reported, category: import("./form.js").Category | null} | null} */
let sent = null;
/** When the centre was heard last, while it is away. @type {number | null} */
let staleSinceMs = null;

const secretNow = () => SECRET.exec(location.hash)?.[1] ?? null;

/** Shows what the address asks for. */
function show() {
  if (site === null) return;
  const secret = secretNow();
  follow?.end();
  follow = null;
  at("loading").hidden = true;
  if (secret !== null) follow = new Follow(secret, site.zone, drawHead);
  else form ??= new Form(site, (reported, category) => {
    sent = { reported, category };
    const box = /** @type {HTMLInputElement} */ (at("keep"));
    box.checked = false;
    show();
    at("sent-title").focus();
  });
  if (secret !== null) sent = null;
  at("follow").hidden = secret === null;
  at("form").hidden = secret !== null || sent !== null;
  at("sent").hidden = secret !== null || sent === null;
  drawHead();
  drawKept();
  drawSent();
}

function drawHead() {
  const title = secretNow() === null ? texts().title : texts().followTitle;
  at("title").textContent = title;
  at("site-name").textContent = nameOf(site?.names, "");
  document.title = [title, nameOf(site?.names, "")].filter(Boolean).join(" · ");
  const isForm = secretNow() === null;
  document.body.dataset.fresh = staleSinceMs === null || isForm ? "yes" : "no";
  const since = staleSinceMs === null ? "" : absolute(staleSinceMs, Date.now(), site?.zone ?? "UTC");
  say(at("stale"), staleSinceMs === null ? "" : isForm ? texts().staleForm : texts().stale(since));
}

function drawKept() {
  const kept = keptReports();
  at("kept").hidden = kept.length === 0 || secretNow() !== null || sent !== null;
  at("kept-list").replaceChildren(...kept.map((one) => {
    const category = site?.categories.find((known) => known.id === one.category);
    const name = texts().reportOf(nameOf(category?.names, one.reference), absolute(one.at, Date.now(), site?.zone ?? "UTC"));
    const forget = make("button", { type: "button", class: "plain", "aria-label": texts().forgetOf(name) }, texts().forget);
    forget.addEventListener("click", () => {
      forgetReport(one.secret);
      drawKept();
      at("title").focus();
    });
    return make("li", {}, make("a", { href: `report#${one.secret}` }, name), forget);
  }));
}

function drawSent() {
  if (sent === null) return;
  const { reported, category } = sent;
  const link = followLink();
  at("reference").textContent = reported.reference;
  for (const id of ["follow-link", "follow-now"]) /** @type {HTMLAnchorElement} */ (at(id)).href = link;
  at("follow-link").textContent = link;
  at("copied").textContent = "";
  at("share").hidden = !("share" in navigator);
  at("keep-why").textContent = category?.kind === CONDUCT ? texts().keepWhyConduct : texts().keepWhy;
}

const followLink = () => new URL(`report#${sent?.reported.secret ?? ""}`, document.baseURI).href;

async function copy() {
  try {
    await navigator.clipboard.writeText(followLink());
    at("copied").textContent = texts().copied;
  } catch {
    // Only https has a clipboard: then the link is marked, to be copied by hand.
    getSelection()?.selectAllChildren(at("follow-link"));
    at("copied").textContent = texts().notCopied;
  }
}

function listen() {
  addEventListener("hashchange", () => {
    show();
    at("title").focus();
  });
  at("skip").addEventListener("click", (event) => {
    // Not by an address: what stands after `#` here is a secret.
    event.preventDefault();
    at("main").focus();
  });
  at("to-report").addEventListener("click", (event) => {
    event.preventDefault();
    sent = null;
    if (location.hash === "") show();
    else location.hash = "";
  });
  at("again").addEventListener("click", () => {
    sent = null;
    show();
    at("title").focus();
  });
  at("copy").addEventListener("click", copy);
  at("share").addEventListener("click", () => navigator.share({ title: texts().followTitle, url: followLink() }).catch(() => {}));
  at("keep").addEventListener("change", (event) => {
    if (sent === null) return;
    const { reported, category } = sent;
    const known = { secret: reported.secret, reference: reported.reference, category: category?.id ?? null, at: new Date().toISOString() };
    if (/** @type {HTMLInputElement} */ (event.target).checked) keepReport(known);
    else forgetReport(reported.secret);
  });
  onLanguage(() => {
    drawHead();
    drawKept();
    drawSent();
  });
}

async function load() {
  for (;;) {
    try {
      site = await get("/v1/site");
      return;
    } catch {
      at("loading").textContent = texts().failed;
      await new Promise((done) => setTimeout(done, LOAD_AGAIN_MS));
    }
  }
}

languageSwitch(at("language"));
themeSwitch(/** @type {HTMLSelectElement} */ (at("theme")));
translate();
drawHead();
listen();
await load();
show();
watchLink((isFresh, heardAtMs) => {
  staleSinceMs = isFresh ? null : heardAtMs;
  drawHead();
  if (isFresh) follow?.read();
});
