/** How does my report stand, and what can I say about it? */

import { ApiError, command, get, newId } from "../shared/api.js";
import { at, make } from "../shared/dom.js";
import { language, locale, nameOf, onLanguage, word } from "../shared/texts.js";
import { absolute } from "../shared/time.js";
import { texts } from "./texts.js";

/** How often it is read while somebody looks; between, only the link is watched. */
const READ_EVERY_MS = 15_000;
/** A report that came in just now is decided within so long. */
const COMING_MAX_MS = 30_000;
const COMING_EVERY_MS = 1500;

/**
 * @typedef {{case: string, stage: string, words: Record<string, string>, names: Record<string, string>, title: string,
 *   opened_at: string, changed_at: string, as_of: string, agency?: Record<string, string>, expected_at?: string,
 *   overdue?: boolean, result?: string, reason?: string, rating?: number,
 *   timeline?: {at: string, action: string, text: string}[], may?: {action: string}[], exercise?: boolean}} Track
 */

/** The page of one report. */
export class Follow {
  /** @param {string} secret @param {string} zone @param {() => void} drawn */
  constructor(secret, zone, drawn) {
    this._secret = secret;
    this._zone = zone;
    this._drawn = drawn;
    /** @type {Track | null} */
    this._track = null;
    /** @type {ApiError | null} */
    this._error = null;
    this._beganMs = Date.now();
    this._isOver = false;
    this._timer = 0;
    /** What is drawn of it: who listens hears only what has changed. */
    this._drawnAs = "";
    /** What came of what somebody said, by what it was. @type {Map<string, {kind: string, text: () => string}>} */
    this._told = new Map();
    this._root = at("follow");
    this._build();
    onLanguage(() => this._draw());
    this._onVisible = () => {
      if (document.visibilityState === "visible") this.read();
    };
    document.addEventListener("visibilitychange", this._onVisible);
    this.read();
  }

  /** Reads nothing any more. */
  end() {
    this._isOver = true;
    clearTimeout(this._timer);
    document.removeEventListener("visibilitychange", this._onVisible);
  }

  /** Reads it now. */
  async read() {
    clearTimeout(this._timer);
    let again = READ_EVERY_MS;
    try {
      const track = await get("/v1/track", { secret: this._secret });
      if (this._isOver) return;
      [this._track, this._error] = [track, null];
    } catch (error) {
      if (this._isOver) return;
      if (!(error instanceof ApiError)) throw error;
      this._error = error;
      if (this._isComing()) again = COMING_EVERY_MS;
    }
    this._draw();
    clearTimeout(this._timer);
    this._timer = setTimeout(() => {
      if (document.visibilityState === "visible") this.read();
    }, again);
  }

  _isComing() {
    return this._track === null && this._error?.status === 404 && Date.now() - this._beganMs < COMING_MAX_MS;
  }

  /** Makes the parts once: what somebody is writing stays where it is while the rest is drawn anew. */
  _build() {
    this._state = make("div", { class: "steps" });
    this._ask = make("div", { class: "steps" });
    this._history = make("section", { class: "panel", "aria-labelledby": "history-title" });
    this._root.replaceChildren(this._state, this._ask, this._history);
    this._forms = {
      reply: this._replyForm(),
      confirm: this._confirmForm(),
      dispute: this._disputeForm(),
      rate: this._rateForm(),
    };
    this._ask.append(this._forms.confirm, this._forms.dispute, this._forms.rate, this._forms.reply);
    for (const form of Object.values(this._forms)) form.hidden = true;
    this._history.hidden = true;
  }

  _draw() {
    if (this._isOver) return;
    const track = this._track;
    if (track === null) this._drawNothing();
    else this._drawTrack(track);
    const may = new Set((track?.may ?? []).map((one) => one.action));
    if (track?.rating !== undefined) may.delete("rate");
    for (const [action, form] of Object.entries(this._forms ?? {})) {
      const told = this._told.get(action);
      // What came of it is still said when it can be asked for no more.
      form.hidden = !may.has(action) && told === undefined;
      form.dataset.may = String(may.has(action));
      for (const node of /** @type {NodeListOf<HTMLElement>} */ (form.querySelectorAll("[data-say]"))) {
        node.textContent = /** @type {any} */ (texts())[node.dataset.say ?? ""];
      }
      for (const node of /** @type {NodeListOf<HTMLElement>} */ (form.querySelectorAll(".asks"))) node.hidden = !may.has(action);
      const output = /** @type {HTMLElement} */ (form.querySelector(".told"));
      output.textContent = told?.text() ?? "";
      output.dataset.kind = told?.kind ?? "";
    }
    for (const node of /** @type {NodeListOf<HTMLElement>} */ (this._root.querySelectorAll("[data-score]"))) {
      node.textContent = texts().scores[Number(node.dataset.score) - 1];
    }
    const replyTitle = this._forms?.reply.querySelector("h2");
    if (replyTitle) replyTitle.textContent = track?.stage === "asked_you" ? texts().askedTitle : texts().replyTitle;
    this._drawn();
  }

  /** Loading, coming in, unknown, or out of reach. */
  _drawNothing() {
    const said = texts();
    const error = this._error;
    const [title, text] = error === null ? [said.loading, ""]
      : this._isComing() ? [said.coming, ""]
      : error.status === 404 || error.status === 422 ? [said.unknownTitle, said.unknownText]
      : [said.loadFailedTitle, said.loadFailedText];
    const panel = make("div", { class: "panel fields", role: "status" }, make("h2", {}, title));
    if (text) {
      const again = make("button", { type: "button" }, said.tryAgain);
      again.addEventListener("click", () => this.read());
      panel.append(make("p", {}, text), make("div", {}, again));
    }
    this._drawnAs = "";
    this._state?.replaceChildren(panel);
  }

  /** @param {Track} track */
  _drawTrack(track) {
    const { as_of: asOf, ...content } = track;
    const now = JSON.stringify([language(), { ...content, position: "" }]);
    if (now !== this._drawnAs) {
      this._drawnAs = now;
      this._drawState(track);
      this._drawHistory(track);
    }
    const read = this._state?.querySelector(".as-of");
    if (read) read.textContent = texts().asOf(absolute(asOf, Date.now(), this._zone));
  }

  /** @param {Track} track */
  _drawState(track) {
    const said = texts();
    const day = (/** @type {string} */ moment) => absolute(moment, Date.now(), this._zone);
    /** @type {[string, string | Node][]} */
    const facts = [
      [said.category, nameOf(track.names, track.case)],
      [said.opened, day(track.opened_at)],
    ];
    if (track.agency && Object.keys(track.agency).length > 0) facts.push([said.agency, nameOf(track.agency, "")]);
    const isOver = ["done", "closed", "refused"].includes(track.stage);
    if (track.expected_at !== undefined && !isOver) {
      const long = fullDay(track.expected_at, this._zone);
      facts.push([said.expected, track.overdue ? make("span", { class: "late" }, said.overdue(long)) : long]);
    } else if (!isOver) {
      facts.push([said.expected, said.noDate]);
    }
    if (track.reason) facts.push([said.reason, make("span", { class: "said" }, track.reason)]);
    else if (track.result) facts.push([said.result, make("span", { class: "said" }, track.result)]);
    if (track.rating !== undefined) facts.push([said.rateSend, said.ratedAs(String(track.rating))]);
    facts.push([said.reference, make("span", { class: "code" }, track.case)]);
    const list = make("dl", { class: "facts" });
    for (const [name, value] of facts) list.append(make("dt", {}, name), make("dd", {}, value));
    const heading = make("h2", { class: "quiet small" }, said.stands);
    const words = make("p", { class: "stands", role: "status", id: "stands" }, nameOf(track.words, track.stage));
    const parts = [heading, words, list, make("p", { class: "quiet small as-of" })];
    this._state?.replaceChildren(make("section", { class: "panel fields stage live", "data-stage": track.stage }, ...parts));
  }

  /** @param {Track} track */
  _drawHistory(track) {
    const said = texts();
    const names = /** @type {Record<string, string>} */ (said.line);
    const lines = [...(track.timeline ?? [])].reverse().map((line) => {
      const when = make("time", { datetime: line.at }, absolute(line.at, Date.now(), this._zone));
      const name = names[line.action] ?? word("action", line.action);
      const item = make("li", {}, make("p", { class: "line-head" }, make("span", {}, name), when));
      if (line.text) item.append(make("p", { class: "said" }, line.text));
      return item;
    });
    const body = lines.length > 0 ? make("ol", { class: "timeline live" }, ...lines) : make("p", { class: "quiet" }, said.noHistory);
    this._history?.replaceChildren(make("h2", { id: "history-title" }, said.history), body);
    if (this._history) this._history.hidden = false;
  }

  _replyForm() {
    const text = make("textarea", { rows: "3", maxlength: "4000", required: true, id: "reply-text" });
    return this._form("reply", "replyTitle", [
      labelled("replyLabel", text), make("p", { class: "quiet small", "data-say": "replyHint" }),
    ], "reply", "replied", () => {
      if (text.value.trim() === "") return refuse(text, texts().needReply);
      return { action: "reply", text: text.value.trim() };
    }, () => { text.value = ""; });
  }

  _confirmForm() {
    return this._form("confirm", "solvedTitle", [], "confirm", "confirmed", () => ({ action: "confirm" }), () => {});
  }

  _disputeForm() {
    const text = make("textarea", { rows: "3", maxlength: "4000", required: true, id: "dispute-text" });
    return this._form("dispute", "disputeTitle", [labelled("disputeLabel", text)], "disputeSend", "disputed", () => {
      if (text.value.trim() === "") return refuse(text, texts().needReason);
      return { action: "dispute", reason: text.value.trim() };
    }, () => { text.value = ""; });
  }

  _rateForm() {
    const comment = make("textarea", { rows: "2", maxlength: "4000", id: "rate-text" });
    const scores = make("div", { class: "choices scores", role: "radiogroup", "aria-labelledby": "rate-title" });
    for (let score = 1; score <= 5; score += 1) {
      const radio = make("input", { type: "radio", name: "score", value: `${score}` });
      scores.append(make("label", {}, radio, make("span", {}, make("b", {}, `${score}`), make("i", { "data-score": `${score}` }))));
    }
    return this._form("rate", "rateTitle", [scores, labelled("rateLabel", comment)], "rateSend", "rated", () => {
      const chosen = /** @type {HTMLInputElement | null} */ (scores.querySelector(":checked"));
      if (chosen === null) return refuse(/** @type {HTMLElement} */ (scores.querySelector("input")), texts().needScore);
      const said = comment.value.trim();
      return { action: "rate", score: Number(chosen.value), ...(said ? { comment: said } : {}) };
    }, () => {});
  }

  /**
   * A form that asks for one thing, and says what came of it.
   * @param {string} action @param {string} title @param {HTMLElement[]} fields @param {string} button
   * @param {string} done @param {() => ({action: string} & Record<string, any>) | string} read what is asked for, or what is missing
   * @param {() => void} clear
   */
  _form(action, title, fields, button, done, read, clear) {
    const output = make("p", { class: "told", role: "status", id: `${action}-told` });
    const send = make("button", { type: "submit", class: "main", "data-say": button });
    const asks = make("div", { class: "fields asks" }, ...fields, make("div", {}, send));
    const form = make(
      "form", { class: "panel fields", novalidate: true, "aria-labelledby": `${action}-title`, id: action },
      make("h2", { id: `${action}-title`, "data-say": title }), asks, output,
    );
    /** The same words are sent with the same id until something is certain. */
    let attempt = { id: "", words: "" };
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (send.disabled) return;
      const wanted = read();
      if (typeof wanted === "string") return this._tell(action, "bad", () => wanted);
      const words = JSON.stringify(wanted);
      if (attempt.words !== words) attempt = { id: newId(), words };
      send.disabled = true;
      this._tell(action, "", () => texts().asking);
      try {
        const outcome = await command(this._track?.case ?? "", wanted, { id: attempt.id, secret: this._secret, exercise: this._track?.exercise === true });
        attempt = { id: "", words: "" };
        if (outcome.state === "rejected") {
          this._tell(action, "bad", () => word("refusal", outcome.reason ?? ""));
        } else {
          clear();
          const text = outcome.state === "applied" ? done : "pending";
          this._tell(action, "good", () => /** @type {any} */ (texts())[text]);
        }
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        this._tell(action, "bad", () => texts().notSent);
      } finally {
        send.disabled = false;
      }
      await this.read();
    });
    return form;
  }

  /** @param {string} action @param {string} kind @param {() => string} text */
  _tell(action, kind, text) {
    // What was said of the other answers is over: one cannot both confirm and object.
    if (action === "dispute") this._told.delete("confirm");
    if (action === "confirm") this._told.delete("dispute");
    this._told.set(action, { kind, text });
    this._draw();
  }
}

/** A day that is still far, as people say it. @param {string} moment @param {string} zone */
function fullDay(moment, zone) {
  const options = /** @type {const} */ ({ timeZone: zone, weekday: "long", day: "numeric", month: "long", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  return new Intl.DateTimeFormat(locale(), options).format(Date.parse(moment));
}

/** @param {string} text @param {HTMLElement} field */
const labelled = (text, field) => make("label", {}, make("span", { "data-say": text }), field);

/** @param {HTMLElement} field @param {string} text */
function refuse(field, text) {
  field.focus();
  return text;
}
