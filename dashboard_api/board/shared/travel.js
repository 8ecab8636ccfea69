/**
 * Does a page show the present, the past or a drill, and how does nobody mistake one for the other?
 *
 * What is shown stands in the address: `?as_of=…&speed=…` for the past, `?drill=1` for a drill. A page that is asked
 * for another one is loaded anew, so that nothing of what was shown before is left on it. While the past or a drill is
 * shown, a bar at the top and a frame around everything say so, in print too.
 */

import { Connection, STALE_AFTER_MS } from "./connection.js";
import { make, setText } from "./dom.js";
import { language, onLanguage } from "./texts.js";

export const SPEEDS = [1, 10, 60, 600];
const RETRY_MS = 1500;
/** How far back the control begins that asks for a moment. */
const BEGIN_BACK_MS = 60 * 60 * 1000;

const EN = {
  past: "NOT LIVE",
  asOf: (/** @type {string} */ when) => `as of ${when}`,
  drill: "DRILL",
  drillWhy: "Nothing here is real. What you do is practice.",
  look: "Past, drills",
  moment: "Moment",
  go: "Show",
  play: "Play",
  pause: "Pause",
  speed: "Speed",
  live: "Back to live",
  enterDrill: "Drill mode",
  leaveDrill: "Leave the drill",
  ended: "the past has become the present",
  refused: (/** @type {string} */ why) => `Cannot be shown: ${why}`,
};

/** @type {typeof EN} */
const VI = {
  past: "KHÔNG PHẢI HIỆN TẠI",
  asOf: (/** @type {string} */ when) => `tại thời điểm ${when}`,
  drill: "DIỄN TẬP",
  drillWhy: "Không có gì ở đây là thật. Mọi thao tác chỉ để luyện tập.",
  look: "Xem lại, diễn tập",
  moment: "Thời điểm",
  go: "Xem",
  play: "Chạy",
  pause: "Dừng",
  speed: "Tốc độ",
  live: "Về hiện tại",
  enterDrill: "Chế độ diễn tập",
  leaveDrill: "Rời diễn tập",
  ended: "đã đến hiện tại",
  refused: (/** @type {string} */ why) => `Không xem được: ${why}`,
};

/** @typedef {{asOf: Date | null, speed: number, drill: boolean}} Mode */

/** What the address asks for. A moment that is none counts as none. @param {string} [search] @returns {Mode} */
export function modeOf(search = location.search) {
  const query = new URLSearchParams(search);
  const asOf = new Date(query.get("as_of") ?? "");
  const speed = Number(query.get("speed") ?? "1");
  return {
    asOf: Number.isNaN(asOf.getTime()) ? null : asOf,
    speed: query.has("speed") && (speed === 0 || SPEEDS.includes(speed)) ? speed : 1,
    drill: query.get("drill") === "1",
  };
}

/** The address of this page that shows something else. @param {Mode} mode @param {string} [href] */
export function addressOf(mode, href = location.href) {
  const address = new URL(href);
  for (const name of ["as_of", "speed", "drill"]) address.searchParams.delete(name);
  if (mode.asOf) {
    address.searchParams.set("as_of", mode.asOf.toISOString());
    address.searchParams.set("speed", String(mode.speed));
  }
  if (mode.drill) address.searchParams.set("drill", "1");
  return address;
}

/** The instant at which clocks of a zone show this, as `2026-03-03T14:02`. @param {string} text @param {string} zone */
export function instantOf(text, zone) {
  const wanted = Date.parse(`${text.length === 16 ? `${text}:00` : text}Z`);
  let found = wanted;
  // The second time the offset is that of the instant itself, also where clocks have just been changed.
  for (let n = 0; n < 2; n += 1) found = wanted - (Date.parse(`${wallTime(found, zone)}Z`) - found);
  return new Date(found);
}

/** What clocks of a zone show at an instant, as `2026-03-03T14:02:00`. @param {number} atMs @param {string} zone */
export function wallTime(atMs, zone) {
  const parts = new Intl.DateTimeFormat("en-CA", {
    timeZone: zone, hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
  }).formatToParts(Math.floor(atMs / 1000) * 1000);
  const of = (/** @type {string} */ type) => parts.find((part) => part.type === type)?.value ?? "00";
  return `${of("year")}-${of("month")}-${of("day")}T${of("hour")}:${of("minute")}:${of("second")}`;
}

/** A replay, to a page what `Connection` is: the same messages, from another time. */
export class ReplayConnection {
  /** @param {() => object} wish @param {(message: any) => void} heard @param {Travel} travel */
  constructor(wish, heard, travel) {
    this.wish = wish;
    this.heard = heard;
    this.travel = travel;
    /** @type {WebSocket | null} */
    this.socket = null;
    /** @type {string | null} */
    this.position = null;
    /** @type {number | null} */
    this.heardAtMs = null;
    /** @type {{state: string, since: string} | null} */
    this.database = null;
    this.feed = { state: "live", lag_s: 0 };
    /** @type {{state: string, since: string, reason?: string, detail?: string}} */
    this.streams = { state: "up", since: "" };
    this.attempts = 0;
    this.subscribed = false;
    this.#open();
  }

  /** @returns {import("./connection.js").ConnectionState} */
  get state() {
    if (this.heardAtMs === null) return "connecting";
    if (Date.now() - this.heardAtMs > STALE_AFTER_MS) return "stale";
    if (this.database?.state === "away") return "away";
    return this.subscribed ? "live" : "connecting";
  }

  /** @returns {import("./connection.js").Way} */
  get way() {
    return "socket";
  }

  get isOpen() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  /** Begins anew from where the replay is. @param {boolean} [afresh] */
  subscribe(afresh = false) {
    if (afresh) this.subscribed = false;
    if (!this.isOpen) return;
    const course = { from: new Date(this.travel.momentMs).toISOString(), speed: this.travel.mode.speed };
    this.socket?.send(JSON.stringify({ op: "subscribe", ...this.wish(), replay: course }));
  }

  #open() {
    const address = new URL("v1/replay", document.baseURI);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address);
    this.socket = socket;
    socket.onopen = () => this.subscribe();
    socket.onmessage = (event) => this.#take(JSON.parse(event.data));
    socket.onclose = (event) => {
      this.subscribed = false;
      this.attempts += 1;
      if (event.reason) this.travel.refused(event.reason);
      setTimeout(() => this.#open(), RETRY_MS * Math.min(this.attempts, 8));
    };
  }

  /** @param {any} message */
  #take(message) {
    this.heardAtMs = Date.now();
    if (message.op === "status") this.database = message.database;
    if (message.op === "error") return this.travel.refused(`${message.detail}. ${message.fix}`);
    if (message.op === "snapshot") {
      this.subscribed = true;
      this.attempts = 0;
      this.database = null;
    }
    if (message.op === "change" && !this.subscribed) return;
    if (message.time) this.travel.at(Date.parse(message.time), message.replay?.ended ?? false);
    this.heard(message);
  }
}

export class Travel {
  /**
   * @param {{zone: string}} site
   * @param {HTMLElement | null} [opener] where a live page offers to look at the past
   * @param {() => string} [spoken] the language; a page that has its own calls `draw` when it changes
   */
  constructor(site, opener = null, spoken = language) {
    this.spoken = spoken;
    this.mode = modeOf();
    this.zone = site.zone;
    /** The moment that is shown, in ms. */
    this.momentMs = this.mode.asOf?.getTime() ?? 0;
    this.hasEnded = false;
    this.problem = "";
    /** @type {ReplayConnection | null} */
    this.connection = null;
    this.bar = make("section", { class: "travel", role: "region" });
    this.says = make("strong", { class: "travel-says", role: "status", "aria-live": "off" });
    this.note = make("span", { class: "travel-note", role: "alert" });
    this.moment = make("input", { type: "datetime-local", step: "60", class: "travel-moment" });
    this.opener = opener;
    document.body.dataset.mode = this.isPast ? "past" : this.mode.drill ? "drill" : "live";
    if (this.mode.drill) document.body.dataset.drill = "yes";
    if (this.isPast || this.mode.drill) document.body.prepend(this.bar);
    this.draw();
    onLanguage(() => this.draw());
  }

  get #texts() {
    return this.spoken() === "vi" ? VI : EN;
  }

  get isPast() {
    return this.mode.asOf !== null;
  }

  get isDrill() {
    return this.mode.drill;
  }

  /** The moment as requests want it. */
  get asOf() {
    return new Date(this.momentMs).toISOString();
  }

  /** What brings the messages: of the present, or of the past. @param {() => object} wish @param {(message: any) => void} heard */
  connect(wish, heard) {
    const asked = this.mode.drill ? () => ({ ...wish(), exercise: true }) : wish;
    if (!this.isPast) return new Connection(asked, heard);
    this.connection = new ReplayConnection(asked, heard, this);
    return this.connection;
  }

  /** The replay has come to a moment. @param {number} momentMs @param {boolean} hasEnded */
  at(momentMs, hasEnded) {
    this.momentMs = momentMs;
    this.hasEnded = hasEnded;
    this.problem = "";
    this.#say();
  }

  /** Why nothing is shown. @param {string} why */
  refused(why) {
    this.problem = this.#texts.refused(why);
    this.#say();
  }

  /** @param {number} speed */
  #play(speed) {
    this.mode = { ...this.mode, speed };
    history.replaceState(null, "", addressOf({ ...this.mode, asOf: new Date(this.momentMs) }));
    this.connection?.subscribe(true);
    this.draw();
  }

  #go() {
    if (!this.moment.value) return this.moment.focus();
    location.assign(addressOf({ ...this.mode, asOf: instantOf(this.moment.value, this.zone) }));
  }

  /** Writes the bar anew. */
  draw() {
    const t = this.#texts;
    const begin = this.isPast ? this.momentMs : Date.now() - BEGIN_BACK_MS;
    this.moment.value = wallTime(begin, this.zone).slice(0, 16);
    this.moment.setAttribute("aria-label", `${t.moment} (${this.zone})`);
    const show = make("button", { type: "button", class: "travel-go", onclick: () => this.#go(), text: t.go });
    if (this.opener && !this.isPast) {
      this.opener.replaceChildren(make("details", { class: "travel-open" }, make("summary", { class: "button", text: t.look }),
        make("div", { class: "travel-form" }, make("label", {}, make("span", { text: `${t.moment} (${this.zone})` }), this.moment), show,
          !this.mode.drill && make("a", { class: "button travel-drill", href: addressOf({ ...this.mode, drill: true }).href, text: t.enterDrill }))));
    }
    if (!this.isPast && !this.mode.drill) return;
    this.bar.setAttribute("aria-label", this.isPast ? t.past : t.drill);
    const isRunning = this.mode.speed > 0;
    this.bar.replaceChildren(this.says, this.note, ...(this.isPast ? [
      make("span", { class: "travel-buttons" },
        make("button", { type: "button", class: "travel-play", onclick: () => this.#play(isRunning ? 0 : 1), text: isRunning ? t.pause : t.play }),
        ...SPEEDS.map((speed) => make("button", {
          type: "button", "data-speed": String(speed), "aria-pressed": String(this.mode.speed === speed), "aria-label": `${t.speed} ${speed}×`,
          onclick: () => this.#play(speed), text: `${speed}×`,
        }))),
      make("span", { class: "travel-buttons" }, this.moment, show),
      make("a", { class: "button travel-live", href: addressOf({ ...this.mode, asOf: null }).href, text: t.live }),
    ] : [
      make("a", { class: "button travel-live", href: addressOf({ ...this.mode, drill: false }).href, text: t.leaveDrill }),
    ]));
    this.#say();
  }

  #say() {
    const t = this.#texts;
    const when = new Intl.DateTimeFormat(this.spoken() === "vi" ? "vi-VN" : "en-GB", { timeZone: this.zone, hour: "2-digit", minute: "2-digit", second: "2-digit", day: "numeric", month: "long", year: "numeric" });
    const past = `${t.past} · ${t.asOf(when.format(this.momentMs))}`;
    setText(this.says, [this.mode.drill ? `${t.drill}${this.spoken() === "vi" ? " · DRILL" : " · DIỄN TẬP"}` : "", this.isPast ? past : ""].filter(Boolean).join(" · "));
    setText(this.note, this.problem || (this.hasEnded ? t.ended : this.mode.drill && !this.isPast ? t.drillWhy : ""));
  }
}
