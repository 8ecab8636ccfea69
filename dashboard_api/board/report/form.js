/** How does somebody say what is wrong, in under a minute, and know that it came in? */

import { ApiError } from "../shared/api.js";
import { at, make, say } from "../shared/dom.js";
import { language, nameOf, onLanguage } from "../shared/texts.js";
import { dropDraft, emptyDraft, loadDraft, saveDraft } from "./draft.js";
import { Place } from "./place.js";
import { sendReport } from "./send.js";
import { texts } from "./texts.js";

const SAVE_AFTER_MS = 300;
/** A complaint about an official. */
export const CONDUCT = "conduct";
const CONTACTS = ["name", "phone", "email", "zalo"];

/** @typedef {{id: string, names: Record<string, string>, kind: string, opens: boolean, publish: boolean, sensitive: boolean}} Category */
/** What the site offers to choose from. @typedef {{categories: Category[], agencies: {id: string, names: Record<string, string>}[], area_list: string}} Choices */

/** The form: what was begun comes back, and what is to be sent is sent until it came in. */
export class Form {
  /** @param {Choices} choices @param {(reported: import("./send.js").Reported, category: Category | null) => void} sent */
  constructor(choices, sent) {
    // Incidents and violations are what cameras see.
    const of = (/** @type {string} */ kind) => choices.categories.filter((one) => one.opens && one.kind === kind);
    this._categories = [...of("service"), ...of(CONDUCT)];
    this._agencies = choices.agencies;
    this._sent = sent;
    this._draft = loadDraft() ?? emptyDraft();
    this._timer = 0;
    /** @type {AbortController | null} */
    this._stop = null;
    /** Why it is not there yet. @type {() => string} */
    this._waits = () => "";
    /** What has to be mended, by where it is said. @type {Map<string, () => string>} */
    this._wrong = new Map();
    this._place = new Place(choices.area_list, () => {
      this._wrong.delete("where-wrong");
      this._changed();
    });
    at("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this._submit();
    });
    at("form").addEventListener("input", () => this._changed());
    at("text").addEventListener("input", () => this._wrong.delete("text-wrong"));
    at("stop").addEventListener("click", () => this._stop?.abort());
    at("discard").addEventListener("click", () => {
      this.clear();
      at("text").focus();
    });
    addEventListener("pagehide", () => this._save());
    onLanguage(() => this._draw());
    const hasBegun = this._draft.text.trim() !== "" || this._draft.category !== null;
    this._fill();
    at("restored").hidden = !hasBegun;
    // It was to be sent when the page went away: the same key makes it the same report.
    if (this._draft.sending) this._send();
  }

  /** Begins anew. */
  clear() {
    clearTimeout(this._timer);
    dropDraft();
    this._draft = emptyDraft();
    this._wrong.clear();
    at("restored").hidden = true;
    at("refused").hidden = true;
    this._fill();
  }

  get _category() {
    return this._categories.find((one) => one.id === this._draft.category) ?? null;
  }

  /** Puts the draft into the fields. */
  _fill() {
    const draft = this._draft;
    /** @type {HTMLTextAreaElement} */ (at("text")).value = draft.text;
    for (const name of CONTACTS) input(`contact-${name}`).value = draft.contact[name] ?? "";
    /** @type {HTMLDetailsElement} */ (at("contact")).open = Object.keys(draft.contact).length > 0;
    this._place.restore(draft.place, draft.area);
    this._draw();
  }

  _draw() {
    const [draft, category] = [this._draft, this._category];
    const focused = /** @type {HTMLInputElement | null} */ (document.activeElement)?.name === "category";
    at("categories").hidden = this._categories.length === 0;
    at("category-list").replaceChildren(...this._categories.map((one) => {
      const radio = make("input", { type: "radio", name: "category", value: one.id });
      radio.checked = one.id === draft.category;
      radio.addEventListener("change", () => {
        draft.category = one.id;
        this._about();
      });
      return make("label", { class: one.kind === CONDUCT ? "alone" : "" }, radio, make("span", {}, nameOf(one.names, one.id)));
    }));
    if (focused) /** @type {HTMLElement | null} */ (at("category-list").querySelector(":checked"))?.focus();
    const accused = /** @type {HTMLSelectElement} */ (at("accused"));
    accused.replaceChildren(
      new Option(texts().accusedNone, ""),
      ...this._agencies.map((one) => new Option(nameOf(one.names, one.id), one.id)),
    );
    accused.value = category?.kind === CONDUCT ? draft.accused : "";
    this._about();
    this._drawState();
  }

  /** What the choice of the category means. */
  _about() {
    const category = this._category;
    at("conduct").hidden = category?.kind !== CONDUCT;
    const said = texts();
    at("about-category").textContent = category === null ? said.unsure
      : category.kind === CONDUCT ? ""
      : !category.publish ? said.wontShow
      : category.sensitive ? said.willShowRounded
      : said.willShow;
  }

  _drawState() {
    const hasContact = Object.keys(this._contact()).length > 0;
    at("text-hint").textContent = hasContact ? texts().wordsHintContact : texts().wordsHintAnonymous;
    at("who-reads").textContent = hasContact ? texts().withContact : texts().anonymous;
    for (const id of ["text-wrong", "where-wrong", "contact-wrong"]) say(at(id), this._wrong.get(id)?.() ?? "");
    at("text").setAttribute("aria-invalid", String(this._wrong.has("text-wrong")));
    const isSending = this._stop !== null;
    /** @type {HTMLFieldSetElement} */ (at("fields")).disabled = isSending;
    /** @type {HTMLButtonElement} */ (at("send")).disabled = isSending;
    at("send").textContent = isSending ? texts().sending : texts().send;
    at("sending-text").textContent = this._waits();
    at("sending").hidden = this._waits() === "";
  }

  _changed() {
    const draft = this._draft;
    draft.text = /** @type {HTMLTextAreaElement} */ (at("text")).value;
    draft.accused = this._category?.kind === CONDUCT ? /** @type {HTMLSelectElement} */ (at("accused")).value : "";
    draft.contact = this._contact();
    draft.place = this._place.place;
    draft.area = this._place.area;
    at("refused").hidden = true;
    this._wrong.delete("contact-wrong");
    this._drawState();
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this._save(), SAVE_AFTER_MS);
  }

  _save() {
    clearTimeout(this._timer);
    const draft = this._draft;
    const isEmpty = draft.text === "" && draft.category === null && Object.keys(draft.contact).length === 0;
    if (!isEmpty) saveDraft(draft, this._category?.kind === CONDUCT);
  }

  /** What was given of it. @returns {Record<string, string>} */
  _contact() {
    const given = CONTACTS.map((name) => [name, input(`contact-${name}`).value.trim()]);
    return Object.fromEntries(given.filter(([, value]) => value !== ""));
  }

  _submit() {
    if (this._stop !== null) return;
    this._changed();
    if (this._draft.text.trim() === "") this._wrong.set("text-wrong", () => texts().needWords);
    if (this._draft.place === null && this._draft.area === null) this._wrong.set("where-wrong", () => texts().needWhere);
    this._drawState();
    if (this._wrong.size === 0) this._send();
    else this._focusWrong();
  }

  _focusWrong() {
    if (this._wrong.has("text-wrong")) at("text").focus();
    else if (this._wrong.has("contact-wrong")) input("contact-phone").focus();
    else /** @type {HTMLElement | null} */ (document.querySelector("#areas select, #locate:not([hidden]), #pick:not([hidden])"))?.focus();
  }

  async _send() {
    const draft = this._draft;
    draft.sending = true;
    // Frozen with the first attempt: with another body it would be another report.
    draft.language ??= language();
    this._save();
    this._stop = new AbortController();
    this._waits = () => "";
    at("restored").hidden = true;
    at("refused").hidden = true;
    this._drawState();
    try {
      const reported = await sendReport(bodyOf(draft), draft.key, this._stop.signal, (error, pauseMs) => {
        const seconds = String(Math.ceil(pauseMs / 1000));
        this._waits = () => error.status === 0 ? texts().waitsLink
          : error.status === 429 ? texts().waitsLimit(seconds)
          : texts().waitsCentre;
        this._drawState();
      });
      const category = this._category;
      this._ended();
      this.clear();
      this._sent(reported, category);
    } catch (error) {
      this._ended();
      draft.sending = false;
      this._save();
      if (error instanceof ApiError) this._refuse(error);
      else at("text").focus();
    }
  }

  _ended() {
    this._stop = null;
    this._waits = () => "";
    this._drawState();
  }

  /** @param {ApiError} error */
  _refuse(error) {
    const field = error.field ?? "";
    if (field === "place") {
      this._place.open();
      this._wrong.set("where-wrong", () => texts().refusedPlace);
    } else if (field.startsWith("contact")) {
      /** @type {HTMLDetailsElement} */ (at("contact")).open = true;
      this._wrong.set("contact-wrong", () => texts().refusedContact);
    }
    this._drawState();
    at("refused").replaceChildren(
      make("p", {}, texts().refused),
      make("p", { class: "small", lang: "en" }, [error.message, error.fix].filter(Boolean).join(". ")),
    );
    at("refused").hidden = false;
    if (this._wrong.size > 0) this._focusWrong();
  }
}

/** The report as it is sent; the same for the same draft. @param {import("./draft.js").Draft} draft */
export function bodyOf(draft) {
  const hasContact = Object.keys(draft.contact).length > 0;
  return JSON.stringify({
    text: draft.text.trim(),
    ...(draft.category === null ? {} : { category: draft.category }),
    ...(draft.accused === "" ? {} : { accused_agency: draft.accused }),
    ...(draft.place === null ? { area: draft.area } : { place: draft.place }),
    ...(hasContact ? { contact: draft.contact, language: draft.language } : {}),
  });
}

/** @param {string} id */
const input = (id) => /** @type {HTMLInputElement} */ (at(id));
