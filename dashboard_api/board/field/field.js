/**
 * What is assigned to my unit, and how does what we do reach the centre over a bad link?
 *
 * What was known last is shown at once, from the phone; the live feed brings it up to date. Every step goes into the
 * outbox first. What the phone does by itself (an offer has arrived, was opened) goes the same way.
 */

import { arrived, offerTo, progress, stamp, stepped, underWay } from "./assigned.js";
import { DEPTH_MAX, add, items as outboxItems, onChange, reject, remove, sendWaiting } from "./outbox.js";
import * as position from "./position.js";
import { forget, keepValue, kept } from "./store.js";
import { texts } from "./texts.js";
import { card, detail, itemName, show, statePage, waitingLine, whyRefused } from "./view.js";
import { choice, keep } from "../shared/choice.js";
import { Connection, STALE_AFTER_MS } from "../shared/connection.js";
import { get, newId, signInLink } from "../shared/api.js";
import { at, make, setText } from "../shared/dom.js";
import { languageSwitch, nameOf, onLanguage, themeSwitch, titleOf, translate, word } from "../shared/texts.js";
import { absolute } from "../shared/time.js";
import { CommandSocket } from "./wire.js";

/** @typedef {import("./assigned.js").Assigned} Assigned */
/** @typedef {import("./outbox.js").Item} Item */

const RETRY_MIN_MS = 1000;
const RETRY_MAX_MS = 30_000;
/** Outcomes come by the live feed; one that has not come for so long is asked for. */
const OUTCOME_AFTER_MS = 6000;
const ASK_WAIT_MS = 30_000;
const TICK_MS = 5000;
const DRAW_AFTER_MS = 40;
/** One case is looked at again when its changes have stopped for so long: on a bad link each look costs a second. */
const DETAIL_AFTER_MS = 1500;
const NOTES_MAX = 100;
const KEEP_EVERY_MS = 30_000;
const RENEW_BEFORE_MS = 120_000;
/** The page's own files are looked at again when it has been loaded for so long. */
const RENEW_FILES_AFTER_MS = 20_000;
const STATUSES = ["available", "busy", "off"];
/** Who gives commands where nobody signs in. */
const ANYONE = "anyone";

const startedAtMs = Date.now();
/** @typedef {{id: string | null, name: string | null, unit: string | null, asked: boolean, expires_at: string | null}} Me */

/** Who works with this phone. @type {Me | null} */
let me = null;
/** @type {string | null} */
let unit = null;
let person = "";
let zone = "Asia/Ho_Chi_Minh";
/** The cases by id, in the order in which they came. @type {Map<string, Assigned>} */
let cases = new Map();
/** @type {any} */
let unitView = null;
/** Cases that were taken from the unit while nobody looked: their titles by id. @type {Map<string, string>} */
const gone = new Map();
/** @type {Item[]} */
let queue = [];
/** @type {Connection | null} */
let connection = null;
const commands = new CommandSocket();
/** When the kept cases were those of the centre. @type {number | null} */
let asOfMs = null;
let offsetMs = 0;
let loaded = false;
let signedOut = false;
/** What is in the way of the outbox, but for the link. */
let inTheWay = "";
/** @type {string | null} */
let shown = null;

const chosen = () => decodeURIComponent(location.hash.slice(1)) || null;

// What is kept

async function restore() {
  const [who, where, known] = await Promise.all([kept("me"), kept("zone"), kept("cases")]);
  zone = where ?? zone;
  if (who) takeMe(who);
  if (known && known.person === person && known.unit === unit) {
    cases = new Map(known.cases);
    ({ unitView, asOfMs, offsetMs } = known);
    loaded = true;
  }
  queue = await outboxItems();
}

let keptAtMs = 0;

function keepCases() {
  keptAtMs = Date.now();
  return keepValue("cases", { person, unit, cases: [...cases], unitView, asOfMs, offsetMs }).catch(cannotKeep);
}

/** @param {unknown} error */
function cannotKeep(error) {
  inTheWay = texts().failed(error instanceof Error ? error.message : String(error));
  draw();
}

// Who asks

/** @param {Me} who */
function takeMe(who) {
  me = who;
  person = who.id ?? (who.asked ? "" : ANYONE);
  unit = who.unit ?? (who.asked ? null : choice("unit", ""));
}

/** Looks who is signed in, until the centre answers. */
async function lookWho() {
  for (let waitMs = RETRY_MIN_MS; ; waitMs = Math.min(RETRY_MAX_MS, waitMs * 2)) {
    try {
      let who = await ask("/v1/me");
      if (who.asked && who.id === null) who = await renewed() ?? who;
      signedOut = who.asked && who.id === null;
      if (signedOut) return drawSoon();
      const before = { person, unit };
      takeMe(who);
      if (before.person !== person || before.unit !== unit) {
        cases.clear();
        loaded = false;
        unitView = null;
        await forget("cases");
        connection?.subscribe(true);
      }
      await keepValue("me", who);
      zone = (await ask("/v1/site")).zone;
      await keepValue("zone", zone);
      connect();
      sendSoon(0);
      return drawSoon();
    } catch {
      await new Promise((resolve) => setTimeout(resolve, waitMs * (0.5 + Math.random() / 2)));
    }
  }
}

/** A new token, while the issuer still knows this browser. */
async function renewed() {
  try {
    const who = await ask(`/signin?${new URLSearchParams({ back: "/v1/me" })}`);
    return who.id ? who : null;
  } catch {
    return null;
  }
}

async function renewSignIn() {
  if (!me?.expires_at || signedOut || Date.parse(me.expires_at) - Date.now() > RENEW_BEFORE_MS) return;
  const who = await renewed();
  if (who) {
    takeMe(who);
    await keepValue("me", who);
  }
}

/** @param {string} path */
const ask = (path) => get(path, { signal: AbortSignal.timeout(ASK_WAIT_MS) });

// The live feed

function connect() {
  if (!unit) return;
  commands.open(person);
  if (connection) return;
  connection = new Connection(
    () => ({ kpis: [], areas: [], points: 1, events: 0, sources: false, cases: { unit }, units: true, commands: true }),
    hear,
  );
}

/** @param {any} message */
function hear(message) {
  if (message.op === "error" && message.reason === "not_signed_in") {
    void lookWho();
    return;
  }
  if (message.time) offsetMs = Date.parse(message.time) - Date.now();
  const isWhole = message.op === "snapshot" || message.resumed === true;
  if (isWhole && message.cases) {
    const ids = new Set(message.cases.map((/** @type {any} */ item) => item.id));
    // Drills are not on the feed; they are asked for.
    for (const one of cases.values()) if (!ids.has(one.item.id) && !one.item.exercise) leave(one.item.id);
    loaded = true;
    void lookForDrills();
    for (const id of cases.keys()) lookSoon(id);
    sendSoon(0);
  }
  for (const item of message.cases ?? []) take(item);
  for (const id of message.cases_gone ?? []) leave(id);
  for (const one of message.units ?? []) {
    if (one.id !== unit) continue;
    if (unitView && unitView.version !== one.version) void lookForDrills();
    unitView = one;
  }
  if (message.outcomes?.length) void settle(message.outcomes);
  if (isFresh()) asOfMs = Date.now();
  if (isWhole || message.cases || message.cases_gone || message.units || Date.now() - keptAtMs > KEEP_EVERY_MS) void keepCases();
  drawSoon();
}

/** A case as it is now. @param {any} item */
function take(item) {
  const known = cases.get(item.id);
  // A note changes the timeline and not the case: it comes again in the version that is known.
  if (known && known.item.version === item.version && known.detailVersion > 0) void hearNotes(item.id);
  if (known && known.item.version >= item.version) return;
  gone.delete(item.id);
  if (known) cases.set(item.id, { ...known, item: { ...known.item, ...item } });
  else cases.set(item.id, { item, offer: null, detailVersion: 0, timeline: [], arrivedAt: stamp(offsetMs) });
  lookSoon(item.id);
}

/** @param {string} id */
function leave(id) {
  const one = cases.get(id);
  if (!one) return;
  cases.delete(id);
  const under = one.offer ? underWay(queue, id, one.offer.number) : [];
  const ended = one.offer ? progress(one.offer, under) : null;
  // Who said so knows it; what the centre took back has to be told.
  if (!ended?.taken.some(({ step }) => step === "done" || step === "declined")) gone.set(id, titleOf(one.item));
}

async function lookForDrills() {
  if (!unit) return;
  try {
    const found = await ask(`/v1/cases?${new URLSearchParams({ unit, exercise: "true", limit: "100" })}`);
    const ids = new Set(found.items.map((/** @type {any} */ item) => item.id));
    for (const one of [...cases.values()]) if (one.item.exercise && !ids.has(one.item.id)) leave(one.item.id);
    found.items.forEach(take);
    drawSoon();
  } catch { /* asked again with the next snapshot */ }
}

/** @type {Map<string, ReturnType<typeof setTimeout>>} */
const looking = new Map();

/** Reads a case once its changes have stopped: at once when nothing is known of its offer. @param {string} id */
function lookSoon(id) {
  const one = cases.get(id);
  if (!one || one.detailVersion >= one.item.version) return;
  // Of a case that is not looked at nothing but the offer is of interest, and what changed it most was this phone.
  if (one.offer && chosen() !== id && one.item.units.includes(unit)) return;
  clearTimeout(looking.get(id));
  looking.set(id, setTimeout(() => look(id), one.offer ? DETAIL_AFTER_MS : 0));
}

/** @param {string} id */
async function look(id) {
  try {
    const read = await ask(`/v1/cases/${encodeURIComponent(id)}`);
    const one = cases.get(id);
    if (!one) return;
    const { offers: _, clocks: __, actions: ___, proposals: ____, ...item } = read;
    const offer = offerTo(read, unit ?? "");
    cases.set(id, { ...one, item, offer, detailVersion: read.version });
    if (offer) for (const done of arrived(offer, underWay(queue, id, offer.number))) await remove(done);
    queue = await outboxItems();
    if (offer && !one.offer) {
      // An offer that is known by now was announced before.
      if (!offer.at.seen) announce(texts().offered(titleOf(item)));
      await byItself(id, "delivered");
    }
    drawSoon();
    await keepCases();
    if (chosen() === id) await readTimeline(id);
  } catch {
    // Without a link the next snapshot looks again; with one, this does.
    if (isFresh()) looking.set(id, setTimeout(() => look(id), DETAIL_AFTER_MS * 2));
  }
}

/** @param {string} id */
async function readTimeline(id) {
  const one = cases.get(id);
  if (!one) return;
  const after = one.timeline.at(-1)?.number ?? 0;
  const found = await ask(`/v1/cases/${encodeURIComponent(id)}/timeline?after=${after}&limit=${NOTES_MAX}`);
  const now = cases.get(id);
  if (!now) return;
  const last = now.timeline.at(-1)?.number ?? 0;
  const added = found.items.filter((/** @type {any} */ entry) => entry.number > last);
  cases.set(id, { ...now, timeline: [...now.timeline, ...added].slice(-NOTES_MAX) });
  drawSoon();
  await keepCases();
}

/** Reads what was added to a timeline, and says aloud what the centre wrote to the units. @param {string} id */
async function hearNotes(id) {
  const before = cases.get(id)?.timeline.at(-1)?.number ?? 0;
  try {
    await readTimeline(id);
  } catch {
    return; // read with the next look
  }
  const one = cases.get(id);
  const news = one?.timeline.findLast((/** @type {any} */ line) => line.number > before && line.action === "note" && line.detail?.to === "units");
  if (one && news) announce(texts().message(titleOf(one.item), news.text));
}

// What is done

/** Takes something down, and sends it when that is possible. @param {Item["about"]} about @param {Item["do"]} action @param {string} title @param {{id?: string, time?: string, byItself?: boolean}} [options] */
async function put(about, action, title, { id = newId(), time = stamp(offsetMs), byItself: auto = false } = {}) {
  try {
    // A drill's case takes only what is said to be of the drill; it is taken down with it, for whoever sends it later.
    const exercise = "case" in about && cases.get(about.case)?.item.exercise === true;
    await add({ id, person, about, ...(exercise ? { exercise } : {}), time, title, do: action, byItself: auto });
  } catch (error) {
    // The same step of the same offer was taken down by another tab.
    if (error instanceof DOMException && error.name === "ConstraintError") return;
    if (error instanceof RangeError) announce(texts().full);
    else cannotKeep(error);
    return;
  }
  await refresh();
  if (!auto && queue.length < DEPTH_MAX) void navigator.storage?.persist?.();
  sendSoon(0);
}

/** What the phone says by itself, once: the same step has the same id on every tab. @param {string} id @param {"delivered" | "seen"} step */
async function byItself(id, step) {
  const one = cases.get(id);
  if (!one?.offer || !person) return;
  const { taken, next } = progress(one.offer, underWay(queue, id, one.offer.number));
  if (next === null || taken.some((known) => known.step === step)) return;
  const time = step === "delivered" ? one.arrivedAt : stamp(offsetMs);
  await put({ case: id }, { action: "offer", offer: one.offer.number, step }, titleOf(one.item), {
    id: `${step}.${id}.${one.offer.number}`, time, byItself: true,
  });
}

/** @param {string} step */
async function press(step) {
  const id = chosen();
  const one = id ? cases.get(id) : undefined;
  if (!id || !one?.offer) return;
  const t = texts();
  // It was so when it was pressed, however long the words take.
  const time = stamp(offsetMs);
  /** @type {Item["do"]} */
  let action = { action: "offer", offer: one.offer.number, step };
  if (step === "declined") {
    const said = await askWords(t.askDecline, t.askDeclineWords, false);
    if (!said) return;
    action = { ...action, reason: said.words };
  }
  if (step === "done") {
    const said = await askWords(t.askDone, t.askDoneWords, true);
    if (!said) return;
    action = { ...action, result: said.words, ...(said.evidence ? { evidence: [said.evidence] } : {}) };
  }
  await put({ case: id }, action, titleOf(one.item), { time });
}

async function writeNote() {
  const id = chosen();
  const one = id ? cases.get(id) : undefined;
  if (!id || !one) return;
  const said = await askWords(texts().askNote, texts().askNoteWords, false);
  if (said) await put({ case: id }, { action: "note", text: said.words }, titleOf(one.item));
}

/**
 * Asks for words, in a dialog.
 * @param {string} title @param {string} label @param {boolean} withEvidence
 * @returns {Promise<{words: string, evidence: {ref: string, kind: string, note?: string} | null} | null>}
 */
function askWords(title, label, withEvidence) {
  const dialog = at("ask");
  const words = /** @type {HTMLTextAreaElement} */ (at("ask-words"));
  const ref = /** @type {HTMLInputElement} */ (at("ask-ref"));
  const note = /** @type {HTMLInputElement} */ (at("ask-note"));
  at("ask-title").textContent = title;
  at("ask-words-label").textContent = label;
  at("ask-send").textContent = texts().send;
  at("ask-evidence").hidden = !withEvidence;
  at("ask-wrong").textContent = "";
  words.value = ref.value = note.value = "";
  words.removeAttribute("aria-invalid");
  const box = /** @type {HTMLDialogElement} */ (dialog);
  return new Promise((done) => {
    const finish = (/** @type {any} */ said) => {
      at("ask-form").onsubmit = at("ask-cancel").onclick = box.oncancel = null;
      box.close();
      done(said);
    };
    at("ask-form").onsubmit = (event) => {
      event.preventDefault();
      if (words.value.trim() === "") {
        at("ask-wrong").textContent = texts().required;
        words.setAttribute("aria-invalid", "true");
        words.focus();
        return;
      }
      const evidence = withEvidence && ref.value.trim()
        ? { ref: ref.value.trim(), kind: "document", ...(note.value.trim() ? { note: note.value.trim() } : {}) }
        : null;
      finish({ words: words.value.trim(), evidence });
    };
    at("ask-cancel").onclick = () => finish(null);
    box.oncancel = () => finish(null);
    box.showModal();
    words.focus();
  });
}

// What waits

/** @type {ReturnType<typeof setTimeout> | undefined} */
let sendTimer;
let attempts = 0;
let isSending = false;

/** @param {number} delayMs */
function sendSoon(delayMs) {
  clearTimeout(sendTimer);
  if (delayMs === 0) attempts = 0;
  sendTimer = setTimeout(() => void sendNow(), delayMs);
}

async function sendNow() {
  if (isSending || !person || signedOut) return;
  isSending = true;
  let trouble;
  try {
    trouble = await sendWaiting(person, commands.wire(person));
  } catch (error) {
    cannotKeep(error);
  } finally {
    isSending = false;
  }
  queue = await outboxItems();
  inTheWay = "";
  if (trouble) {
    if (trouble.status === 0) void askForSync();
    else if (trouble.status === 401) void lookWho();
    else inTheWay = texts().problem(trouble.detail || `${trouble.status}`);
    const ceiling = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** attempts);
    attempts += 1;
    sendSoon(ceiling * (0.5 + Math.random() / 2));
  } else if (queue.some((item) => item.state === "waiting" && item.person === person)) {
    // Something was taken down after the last look.
    sendSoon(0);
  }
  await tellRefused();
  drawSoon();
}

/** Where the browser can, the service worker sends what waits when the link is back, with the page closed. */
async function askForSync() {
  try {
    const worker = /** @type {any} */ (await navigator.serviceWorker?.ready);
    await worker?.sync?.register("outbox");
  } catch { /* the page sends it when it is open */ }
}

/** Outcomes of what was sent, from the feed or asked for. @param {any[]} outcomes */
async function settle(outcomes) {
  for (const outcome of outcomes) {
    const item = queue.find((one) => one.id === outcome.id && one.state !== "rejected");
    if (!item || outcome.state === "pending") continue;
    if (outcome.state === "applied") {
      const one = "case" in item.about ? cases.get(item.about.case) : undefined;
      if (one?.offer && one.offer.number === item.do.offer && item.do.step) {
        cases.set(one.item.id, { ...one, offer: stepped(one.offer, item.do.step, item.time) });
      }
      if (item.do.action === "availability" && unitView) unitView = { ...unitView, status: item.do.status };
      await remove(item);
      if (one && item.do.action === "note" && chosen() === one.item.id) void readTimeline(one.item.id).catch(() => { /* read with the next look */ });
    } else await reject(item, outcome);
  }
  queue = await outboxItems();
  await tellRefused();
  await keepCases();
  drawSoon();
}

/** @type {Set<string>} */
const told = new Set();

/** Says aloud what was refused, and lets go of what the phone had said by itself: another one of the unit was first. */
async function tellRefused() {
  for (const item of queue.filter((one) => one.state === "rejected")) {
    if (item.byItself) await remove(item);
    else if (!told.has(item.id)) announce(texts().refused(itemName(item), whyRefused(item)));
    told.add(item.id);
  }
  queue = await outboxItems();
}

/** Asks for an outcome that the feed did not bring: it was decided while there was no link. */
async function askForOutcome() {
  const item = queue.find((one) => one.state === "sent" && one.person === person && Date.now() - (one.sentAtMs ?? 0) > OUTCOME_AFTER_MS);
  if (!item || signedOut) return;
  try {
    const found = await ask(`/v1/commands/${encodeURIComponent(item.id)}?wait=0`);
    if (found.state === "pending") return;
    await settle([found]);
    await askForOutcome();
  } catch { /* asked again with the next tick */ }
}

// What is shown

const isFresh = () => connection?.state === "live" || connection?.state === "held";

/** @returns {"connecting" | "live" | "offline" | "away" | "stopped"} */
function linkState() {
  const state = connection?.state ?? "connecting";
  if (state === "held") return "live";
  if (state === "connecting") return Date.now() - startedAtMs > STALE_AFTER_MS || !navigator.onLine ? "offline" : "connecting";
  return state === "stale" ? "offline" : state;
}

/** @param {string} words */
function announce(words) {
  at("news").textContent = words;
  navigator.vibrate?.([200, 100, 200]);
}

let drawing = false;

function drawSoon() {
  if (drawing) return;
  drawing = true;
  setTimeout(draw, DRAW_AFTER_MS);
}

function draw() {
  drawing = false;
  const t = texts();
  const nowMs = Date.now();
  const id = chosen();
  const one = id ? cases.get(id) ?? null : null;
  const scene = { nowMs: nowMs + offsetMs, zone, items: queue, person, chosen: one ? id : null };
  drawLink(t, nowMs);
  drawUnit(t);
  show(at("problem"), problems(t));
  const list = [...cases.values()].sort(byUrgency);
  const empty = loaded ? t.none : t.loading;
  show(at("cards"), !unit || signedOut && !loaded ? [] : list.length ? list.map((each) => card(each, scene)) : [make("li", { class: "empty" }, empty)]);
  show(at("gone"), [...gone].map(([key, title]) => make(
    "div",
    { class: "notice warn row" },
    make("p", { class: "grow words" }, t.gone(title)),
    make("button", { type: "button", id: `gone-${key}`, "data-do": "forget", "data-id": key }, t.noted),
  )));
  const lines = queue.filter((item) => !(item.byItself && item.state === "rejected"));
  at("waiting-panel").hidden = lines.length === 0;
  at("waiting-title").textContent = t.outboxTitle(lines.length);
  show(at("waiting"), lines.map((item) => waitingLine(item, scene)));
  document.body.dataset.view = one ? "case" : "list";
  at("case").hidden = !unit || (signedOut && !loaded);
  document.body.dataset.exercise = one?.item.exercise ? "yes" : "no";
  show(at("case"), one ? detail(one, scene) : [make("p", { class: "empty", id: "case-title" }, t.choose)]);
  const opened = one ? id : null;
  if (shown !== opened) {
    const before = shown;
    shown = opened;
    if (opened) {
      at("case-title").focus({ preventScroll: true });
      scrollTo(0, 0);
      lookSoon(opened);
      void readTimeline(opened).catch(() => { /* read with the next look */ });
    } else if (before) (document.getElementById(`card-${before}`) ?? at("main")).focus();
  }
  if (one && opened && document.visibilityState === "visible") void byItself(opened, "seen");
}

/** Who has not answered yet comes first, then who is due first. @param {Assigned} a @param {Assigned} b */
function byUrgency(a, b) {
  const open = (/** @type {Assigned} */ one) => (one.offer && one.offer.at.accepted ? 1 : 0);
  const due = (/** @type {Assigned} */ one) => (one.item.due_at ? Date.parse(one.item.due_at) : Infinity);
  return open(a) - open(b) || (due(a) === due(b) ? 0 : due(a) - due(b)) || Date.parse(a.item.opened_at) - Date.parse(b.item.opened_at);
}

/** @param {ReturnType<typeof texts>} t @param {number} nowMs */
function drawLink(t, nowMs) {
  const state = linkState();
  const isLive = state === "live";
  document.body.dataset.fresh = isLive || state === "connecting" ? "yes" : "no";
  document.body.dataset.link = state;
  setText(at("link-text"), t[state]);
  const banner = at("banner");
  banner.hidden = isLive || state === "connecting" || signedOut || (me !== null && !unit);
  const since = asOfMs === null ? "" : absolute(asOfMs, nowMs, zone);
  setText(banner, state === "stopped" ? t.bannerStopped : asOfMs === null ? t.bannerNever : t.bannerOffline(since));
}

/** @param {ReturnType<typeof texts>} t */
function drawUnit(t) {
  const title = unitView ? nameOf(unitView.names, unitView.id) : t.title;
  if (at("unit-name").textContent !== title) at("unit-name").textContent = document.title = title;
  delete at("unit-name").dataset.text;
  at("availability").hidden = !unit || !loaded;
  const asked = queue.filter((item) => item.do.action === "availability" && item.state !== "rejected").at(-1);
  const status = asked?.do.status ?? unitView?.status ?? "";
  show(at("availability"), STATUSES.map((one) => make(
    "button",
    { type: "button", id: `status-${one}`, "data-do": "availability", "data-status": one, "aria-pressed": String(one === status) },
    word("unit", one),
  )));
  at("availability-waits").hidden = !asked;
  at("availability-waits").textContent = asked ? `${word("unit", status)}: ${t.waitsShort}` : "";
  at("share").hidden = !unit || !position.isPossible();
  at("sign-out").hidden = !me?.asked || !me.id || signedOut;
}

/** @param {ReturnType<typeof texts>} t */
function problems(t) {
  const found = [];
  if (signedOut) found.push(statePage(t.signInTitle, t.signInText, make("a", { class: "button main", id: "sign-in", href: signInLink() }, t.signIn)));
  else if (me && !unit && me.asked) found.push(statePage(t.noUnitTitle, t.noUnitText));
  else if (me && !unit) found.push(chooser(t));
  if (inTheWay) found.push(make("p", { class: "notice bad" }, inTheWay));
  return found;
}

/** @type {{id: string, names: Record<string, string>}[] | null} */
let choices = null;

/** Where nobody signs in, whoever holds the phone says which unit it is. @param {ReturnType<typeof texts>} t */
function chooser(t) {
  if (choices === null) {
    choices = [];
    ask("/v1/units").then((found) => { choices = found.items; drawSoon(); }, () => { choices = null; });
  }
  return make("section", { class: "panel stack" }, make("h2", {}, t.chooseUnit), ...choices.map(({ id, names }) => (
    make("button", { type: "button", id: `unit-${id}`, "data-do": "unit", "data-id": id }, nameOf(names, id)))));
}

// What is pressed

document.addEventListener("click", (event) => {
  const button = event.target instanceof Element ? event.target.closest("[data-do]") : null;
  if (!(button instanceof HTMLElement)) return;
  const { do: what = "", id = "", status = "" } = button.dataset;
  if (what === "noted") {
    const item = queue.find((one) => one.id === id);
    if (item) void remove(item).then(refresh);
  } else if (what === "forget") {
    gone.delete(id);
    drawSoon();
  } else if (what === "unit") {
    keep("unit", id);
    location.reload();
  } else if (what === "availability") {
    if (button.getAttribute("aria-pressed") !== "true") void put({ subject: `unit:${unit}` }, { action: "availability", status }, nameOf(unitView?.names, unit ?? ""));
  } else if (what === "note") void writeNote();
  else void press(what);
});

async function refresh() {
  queue = await outboxItems();
  drawSoon();
}

/** @param {boolean} wanted */
function sharePosition(wanted) {
  keep("share-position", wanted ? "yes" : "no");
  at("share-note").textContent = wanted ? texts().shareOn : texts().shareOff;
  if (!wanted) position.stop();
  else if (unit) position.start(unit, (trouble) => { at("share-note").textContent = trouble ? texts().shareWrong(trouble) : texts().shareOn; });
}

async function start() {
  translate();
  languageSwitch(at("languages"));
  themeSwitch(/** @type {HTMLSelectElement} */ (at("theme")));
  onLanguage(drawSoon);
  draw();
  try {
    await restore();
  } catch (error) {
    cannotKeep(error);
    return;
  }
  draw();
  connect();
  void lookWho().then(() => {
    const share = /** @type {HTMLInputElement} */ (at("share-position"));
    share.checked = choice("share-position", "no") === "yes";
    share.addEventListener("change", () => sharePosition(share.checked));
    if (share.checked) sharePosition(true);
  });
  onChange(() => void refresh());
  addEventListener("hashchange", draw);
  addEventListener("online", () => sendSoon(0));
  addEventListener("offline", drawSoon);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { sendSoon(0); drawSoon(); } });
  setInterval(() => void askForOutcome(), TICK_MS);
  setInterval(drawSoon, 1000);
  setInterval(() => void renewSignIn(), KEEP_EVERY_MS);
  if ("serviceWorker" in navigator) {
    const worker = await navigator.serviceWorker.register(new URL("sw.js", import.meta.url), {
      type: "module", scope: new URL("../field", import.meta.url).pathname,
    }).catch((error) => console.warn("the page will not open without a link:", error.message));
    if (worker) setTimeout(() => worker.active?.postMessage("renew"), RENEW_FILES_AFTER_MS);
  }
}

void start();
