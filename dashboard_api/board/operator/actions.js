/**
 * What does an action need, and what came of it?
 *
 * Each action that the centre allows becomes a form with its fields, or goes off at once where it needs none. What
 * the centre refuses is said with its reason, and what was typed stays.
 */

import { ApiError, command, get } from "../shared/api.js";
import { make, setText } from "../shared/dom.js";
import { nameOf, titleOf, word } from "../shared/texts.js";
import { actionName } from "./case.js";
import { reasonText, t } from "./texts.js";

/** What holds whatever came in between; the others are decided on the version that was seen. */
const FACTS = new Set(["acknowledge", "note", "offer", "review", "reveal"]);
const SEVERITIES = ["info", "minor", "major", "critical"];
/** Units that a digit can send. */
const DIGITS = 9;
const SUGGESTED = 9;
/** Reasons that no force overrides. */
const CANNOT = ["has_it", "busy", "full"];

/**
 * @typedef {{name: string, label: string, kind: "text" | "long" | "select" | "check" | "several", options?: [string, string][],
 *   required?: boolean, value?: string, hint?: string, when?: (values: Record<string, any>) => boolean}} Field
 * @typedef {{site: any, areas: any[], cases: () => import("./work.js").Item[], said: (text: string, kind: "good" | "bad" | "warn", stale?: boolean) => void,
 *   reload: (id: string) => Promise<any>, applied: (id: string | null, action: string, outcome: any) => void, unit: (id: string) => string,
 *   agency: (id: string) => string, step: (category: string, id: string) => string, signIn: () => void}} Host
 */

export class Desk {
  /** @param {HTMLDialogElement} dialog @param {Host} host */
  constructor(dialog, host) {
    this.dialog = dialog;
    this.host = host;
    /** Actions on their way, so that nobody asks twice by a nervous key. @type {Set<string>} */
    this.under = new Set();
    /** What a version became by one's own command and nothing else, so that one's next is not stale. @type {Map<string, number>} */
    this.own = new Map();
  }

  /** @param {any} detail the case @param {{action: string, choice?: string, needs?: string[]}} one @param {Record<string, any>} [preset] */
  act(detail, one, preset = {}) {
    const name = actionName(one, detail, this.host);
    if (one.action === "dispatch") return this.#dispatch(detail, name);
    const fields = this.#fields(detail, one).filter((field) => !(field.name in preset));
    const fixed = { ...fixedOf(one), ...preset };
    if (fields.length === 0) return this.#send(detail, one.action, name, fixed);
    return this.#form(name, fields, (values, seen) => this.#send(seen ?? detail, one.action, name, { ...fixed, ...values }, true), detail);
  }

  /** A case of the operator's own. @param {string} area what is chosen at first */
  open(area) {
    const { site, areas } = this.host;
    /** @type {Field[]} */
    const fields = [
      { name: "category", label: t().category, kind: "select", required: true, options: categories(site) },
      { name: "title", label: t().titleField, kind: "text", required: true },
      { name: "severity", label: t().severity, kind: "select", options: severities() },
      { name: "text", label: t().text, kind: "long" },
      { name: "area", label: t().area, kind: "select", required: true, value: area, options: areas.map((one) => [one.id, nameOf(one.names, one.code)]) },
      { name: "at", label: t().latLon, kind: "text" },
    ];
    const name = word("action", "open");
    return this.#form(name, fields, async ({ area: id, at: written, ...values }) => {
      const point = written ? String(written).match(/^\s*(-?\d+(?:\.\d+)?)\s*[,; ]\s*(-?\d+(?:\.\d+)?)\s*$/) : null;
      if (written && !point) return t().latLonWrong;
      const code = areas.find((one) => one.id === id)?.code;
      return this.#send(null, "open", name, values, true, { area: code, ...(point ? { place: `geo:${point[1]},${point[2]}` } : {}) });
    }, null);
  }

  /** @param {any} detail @param {{action: string, choice?: string}} one @returns {Field[]} */
  #fields(detail, one) {
    const { host } = this;
    const { site } = host;
    const evidence = /** @type {Field} */ ({ name: "evidence", label: t().evidenceField, kind: "text" });
    const agencies = /** @type {[string, string][]} */ (site.agencies.map((/** @type {any} */ a) => [a.id, nameOf(a.names, a.id)]));
    const offers = /** @type {[string, string][]} */ ((detail.offers ?? [])
      .filter((/** @type {any} */ offer) => (detail.units ?? []).includes(offer.unit) && !["done", "declined", "missed", "withdrawn"].includes(offer.step))
      .map((/** @type {any} */ offer) => [String(offer.number), `${offer.number}. ${host.unit(offer.unit)}: ${word("step", offer.step)}`]));
    const open = /** @type {[string, string][]} */ (host.cases().filter((item) => item.id !== detail.id)
      .map((item) => [item.id, `${titleOf(item)} (${word("state", item.state)})`]));
    const proposed = /** @type {string[]} */ ((detail.proposals ?? []).map((/** @type {any} */ p) => (p.case === detail.id ? p.other : p.case)));
    const titled = (/** @type {string} */ id) => /** @type {[string, string]} */ (open.find(([known]) => known === id) ?? [id, id]);
    switch (one.action) {
      case "triage":
        return [
          { name: "category", label: t().category, kind: "select", options: [["", asIs(nameOf(detail.names, detail.category))], ...categories(site)] },
          { name: "severity", label: t().severity, kind: "select", options: [["", asIs(word("severity", detail.severity))], ...severities().slice(1)] },
          { name: "title", label: t().titleField, kind: "text", value: detail.title },
          {
            name: "accused_agency", label: t().accused, kind: "select", options: [["", t().asIs], ...agencies],
            when: ({ category }) => site.categories.find((/** @type {any} */ c) => c.id === (category || detail.category))?.kind === "conduct",
          },
          { name: "publish", label: t().publish, kind: "select", options: [["", asIs(detail.published ? t().yes : t().no)], ["true", t().yes], ["false", t().no]] },
        ];
      case "assign":
        return [{ name: "agency", label: t().agency, kind: "select", required: true, value: detail.agency, options: agencies }, { name: "note", label: t().note, kind: "long" }];
      case "merge":
        return [{ name: "other", label: t().other, kind: "select", required: true, options: [...proposed.map(titled), ...open.filter(([id]) => !proposed.includes(id))] }];
      case "unmerge":
        return [{ name: "other", label: t().other, kind: "select", required: true, options: detail.absorbed.map(titled) }];
      case "dismiss":
        return [{ name: "other", label: t().other, kind: "select", required: true, options: proposed.map(titled) }];
      case "split":
        return [{ name: "members", label: t().whichMembers, kind: "several", required: true, options: detail.signals.map((/** @type {any} */ m) => [m.id, m.title || m.id]) }];
      case "withdraw_offer":
        return [{ name: "offer", label: t().offer, kind: "select", required: true, options: offers }, { name: "reason", label: t().reason, kind: "text" }];
      case "offer":
        return [
          { name: "offer", label: t().offer, kind: "select", required: true, options: offers },
          ...(one.choice === "declined" ? [/** @type {Field} */ ({ name: "reason", label: t().reason, kind: "text" })] : []),
          ...(one.choice === "done" ? [/** @type {Field} */ ({ name: "result", label: t().result, kind: "long" }), evidence] : []),
        ];
      case "wait":
        return [
          { name: "text", label: t().reason, kind: "long", required: true },
          ...(one.choice === "agency" ? [/** @type {Field} */ ({ name: "agency", label: t().agency, kind: "select", options: [["", "–"], ...agencies] })] : []),
        ];
      case "resume":
        return [{ name: "text", label: t().note, kind: "long" }];
      case "answer":
        return [{ name: "text", label: t().text, kind: "long", required: true, hint: t().replyHint }];
      case "note":
        return [
          { name: "text", label: t().note, kind: "long", required: true },
          ...((detail.units ?? []).length > 0 ? [/** @type {Field} */ ({ name: "to_units", label: t().toUnits, kind: "check" })] : []),
          evidence,
        ];
      case "resolve":
        return [{ name: "result", label: t().result, kind: "long", required: true, hint: t().replyHint }, evidence];
      case "close":
        return [{ name: "result", label: t().result, kind: "long", required: !detail.result }, evidence];
      case "reject":
      case "reopen":
        return [{ name: "reason", label: t().reason, kind: "long", required: true }];
      case "review":
        return [
          { name: "upheld", label: t().upheld, kind: "select", required: true, options: [["true", t().yes], ["false", t().no]] },
          { name: "note", label: t().note, kind: "long" },
        ];
      case "law_step":
        return [{ name: "note", label: t().note, kind: "long" }, evidence];
      case "reveal":
        return [
          { name: "what", label: t().what, kind: "select", required: true, options: [...(detail.plate ? [/** @type {[string, string]} */ (["plate", t().whatPlate])] : []), ["reporter", t().whatReporter]] },
          { name: "reason", label: t().reason, kind: "text", required: true },
        ];
      default:
        return [];
    }
  }

  /** Units with their reasons; one key sends one. @param {any} detail @param {string} name */
  async #dispatch(detail, name) {
    const root = this.dialog;
    const wrong = make("p", { class: "wrong", role: "alert" });
    const body = make("div", { class: "fields" }, make("p", { class: "quiet", role: "status", text: t().suggestionsLoading }));
    root.onkeydown = null;
    root.replaceChildren(make("h2", { id: "form-title", tabindex: "-1", text: name }), body, wrong,
      make("div", { class: "row end" }, make("button", { type: "button", onclick: () => root.close(), text: t().cancel })));
    root.dataset.action = "dispatch";
    if (!root.open) root.showModal();
    /** @type {any[]} */
    let items;
    try {
      items = (await get(`/v1/cases/${encodeURIComponent(detail.id)}/suggestions?limit=${SUGGESTED}`)).items;
    } catch (error) {
      return setText(wrong, this.#words(error));
    }
    if (items.length === 0) return body.replaceChildren(make("p", { text: t().noSuggestions }));
    let seen = detail;
    const send = async (/** @type {any} */ one, /** @type {Record<string, any>} */ more) => {
      setText(wrong, "");
      const said = await this.#send(seen, "dispatch", `${name} (${nameOf(one.unit.names, one.unit.id)})`, { unit: one.unit.id, ...more }, true);
      if (typeof said === "string") setText(wrong, said);
      else if (said?.stale) {
        wrong.replaceChildren(said.text, " ", make("button", { type: "button", onclick: async () => { seen = (await this.host.reload(detail.id)) ?? seen; setText(wrong, t().reloaded); }, text: t().reload }));
      }
    };
    const force = (/** @type {any} */ one, /** @type {HTMLElement} */ row) => {
      const reason = make("input", { required: true });
      const form = make("form", { class: "fields" }, make("label", {}, make("span", { text: t().forceWhy }), reason), make("button", { class: "main", text: t().force }));
      form.addEventListener("submit", (event) => {
        event.preventDefault();
        if (reason.value.trim() !== "") void send(one, { force: true, reason: reason.value.trim() });
      });
      row.querySelector("form")?.remove();
      row.append(form);
      reason.focus();
    };
    const rows = items.map((one, n) => {
      const impossible = !one.capable && one.reasons.some((/** @type {string} */ reason) => CANNOT.includes(reason));
      const row = make("li", { "data-unit": one.unit.id });
      const button = make("button", {
        type: "button", class: `unit ${one.capable ? "capable" : ""}`, "aria-disabled": impossible ? "true" : undefined,
        onclick: () => (impossible ? undefined : one.capable ? void send(one, {}) : force(one, row)),
      },
        make("kbd", { text: String(n + 1) }),
        make("span", {}, make("strong", { text: nameOf(one.unit.names, one.unit.id) }),
          make("span", { class: "unit-about", text: `${this.host.agency(one.unit.agency)} · ${word("unit", one.unit.status)}` }),
          make("span", { class: "unit-about", text: one.reasons.map(reasonText).join(" · ") }),
          !one.capable && make("span", { class: "unit-about wrong", text: impossible ? t().cannotSend : t().notCapable })));
      row.append(button);
      return row;
    });
    body.replaceChildren(make("p", { class: "quiet small", text: t().pressToSend }), make("ol", { class: "suggested" }, ...rows));
    rows[0].querySelector("button")?.focus();
    root.onkeydown = (event) => {
      if (event.target instanceof HTMLInputElement || event.ctrlKey || event.metaKey || event.altKey) return;
      const buttons = rows.map((row) => /** @type {HTMLButtonElement} */ (row.querySelector("button")));
      const place = buttons.indexOf(/** @type {any} */ (document.activeElement));
      const step = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 }[event.key];
      if (step !== undefined) {
        event.preventDefault();
        buttons[Math.min(buttons.length - 1, Math.max(0, place + step))].focus();
      }
      const digit = Number(event.key);
      if (digit >= 1 && digit <= Math.min(DIGITS, buttons.length)) {
        event.preventDefault();
        buttons[digit - 1].click();
      }
    };
  }

  /**
   * @param {string} name @param {Field[]} fields
   * @param {(values: Record<string, any>, seen: any) => Promise<string | {stale: true, text: string} | void>} submit what is wrong, or nothing
   * @param {any} detail
   */
  #form(name, fields, submit, detail) {
    const root = this.dialog;
    root.onkeydown = null;
    delete root.dataset.action;
    let seen = detail;
    const wrong = make("div", { class: "wrong", role: "alert" });
    const sendButton = make("button", { class: "main", text: t().send });
    const nodes = new Map(fields.map((field) => [field.name, fieldNode(field)]));
    const values = () => {
      /** @type {Record<string, any>} */
      const found = {};
      for (const field of fields) {
        const { label, read } = /** @type {FieldNode} */ (nodes.get(field.name));
        const value = label.hidden ? "" : read();
        if (value.length > 0) found[field.name] = field.name === "evidence" ? [{ ref: value }] : typed(field.name, value);
      }
      return found;
    };
    const adapt = () => {
      const now = Object.fromEntries([...nodes].map(([key, node]) => [key, node.read()]));
      for (const field of fields) if (field.when) /** @type {FieldNode} */ (nodes.get(field.name)).label.hidden = !field.when(now);
    };
    const form = make("form", { class: "fields", novalidate: true },
      make("h2", { id: "form-title", text: name }), ...[...nodes.values()].map((node) => node.label), wrong,
      make("div", { class: "row end" }, make("button", { type: "button", onclick: () => root.close(), text: t().cancel }), sendButton));
    form.addEventListener("change", adapt);
    form.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit(); });
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      setText(wrong, "");
      const given = values();
      const missing = fields.filter((field) => field.required && !(field.name in given));
      for (const field of fields) /** @type {FieldNode} */ (nodes.get(field.name)).flag(missing.includes(field));
      if (missing.length > 0) return /** @type {FieldNode} */ (nodes.get(missing[0].name)).focus();
      // What was not changed is not said.
      if (detail && given.title === detail.title) delete given.title;
      sendButton.disabled = true;
      setText(sendButton, t().sending);
      const said = await submit(given, seen);
      sendButton.disabled = false;
      setText(sendButton, t().send);
      if (typeof said === "string") setText(wrong, said);
      else if (said?.stale) {
        wrong.replaceChildren(said.text, " ", make("button", {
          type: "button", text: t().reload, onclick: async () => {
            sendButton.disabled = true;
            seen = (await this.host.reload(seen.id)) ?? seen;
            sendButton.disabled = false;
            setText(wrong, t().reloaded);
            sendButton.focus();
          },
        }));
      }
    });
    root.replaceChildren(form);
    adapt();
    if (!root.open) root.showModal();
    /** @type {FieldNode} */ (nodes.get(fields[0].name)).focus();
  }

  /**
   * Nothing when it was applied or is on its way; else what to tell, beside the form where there is one.
   * @param {any} detail @param {string} action @param {string} name @param {Record<string, any>} values @param {boolean} [inForm] @param {Record<string, any>} [about]
   * @returns {Promise<string | {stale: true, text: string} | void>}
   */
  async #send(detail, action, name, values, inForm = false, about = {}) {
    const key = `${detail?.id} ${action}`;
    if (this.under.has(key)) return;
    this.under.add(key);
    const other = this.host.cases().find((item) => item.id === values.other);
    const version = detail === null || FACTS.has(action) ? undefined : this.#seen(detail);
    const given = action === "merge" && other ? { ...values, other_version: other.version } : values;
    const exercise = detail?.exercise === true;
    try {
      const outcome = await command(detail?.id ?? null, { action, ...given }, { version, ...about, ...(exercise ? { exercise } : {}) });
      if (outcome.state === "rejected") {
        const why = [word("refusal", outcome.reason ?? ""), outcome.reason === "stale" ? "" : outcome.detail].filter(Boolean).join(" ");
        const text = t().refused(name, why);
        if (outcome.reason === "stale") return inForm ? { stale: true, text } : this.host.said(text, "bad", true);
        return inForm ? text : this.host.said(text, "bad");
      }
      if (version !== undefined && outcome.version === version + 1) this.own.set(`${detail.id} ${version}`, version + 1);
      // What went off without a form may be decided while another form is open.
      if (inForm) this.dialog.close();
      this.host.said(outcome.state === "applied" ? t().done(name) : t().pending(name), outcome.state === "applied" ? "good" : "warn");
      this.host.applied(detail?.id ?? outcome.case ?? null, action, outcome);
    } catch (error) {
      const text = this.#words(error);
      return inForm ? text : this.host.said(text, "bad");
    } finally {
      this.under.delete(key);
    }
  }

  /** The version that was seen, with what one has done to it since. @param {any} detail */
  #seen(detail) {
    let version = detail.version;
    for (let next = this.own.get(`${detail.id} ${version}`); next !== undefined; next = this.own.get(`${detail.id} ${version}`)) version = next;
    return version;
  }

  /** @param {unknown} error */
  #words(error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.signIn) this.host.signIn();
    const known = error.reason ? word("refusal", error.reason) : "";
    const detail = known && known !== error.reason ? known : [error.field, error.message, error.fix].filter(Boolean).join(": ");
    return t().unsent(detail);
  }
}

/** What follows from the choice that was made. @param {{action: string, choice?: string}} one */
function fixedOf(one) {
  if (one.action === "wait") return { until: one.choice };
  if (one.action === "offer" || one.action === "law_step") return { step: one.choice };
  return {};
}

/** @param {string} name @param {any} value */
function typed(name, value) {
  if (name === "publish" || name === "upheld" || name === "to_units") return value === "true";
  if (name === "offer") return Number(value);
  return value;
}

/** @param {any} site @returns {[string, string][]} */
const categories = (site) => site.categories.map((/** @type {any} */ one) => [one.id, nameOf(one.names, one.id)]);

/** @returns {[string, string][]} */
const severities = () => [["", "–"], ...SEVERITIES.map((one) => /** @type {[string, string]} */ ([one, word("severity", one)]))];

/** @param {string} now */
const asIs = (now) => `${now} (${t().asIs})`;

/** @typedef {{label: HTMLElement, read: () => any, flag: (wrong: boolean) => void, focus: () => void}} FieldNode */

/** @param {Field} field @returns {FieldNode} */
function fieldNode(field) {
  const id = `field-${field.name}`;
  const error = make("span", { class: "wrong", id: `${id}-wrong` });
  const hint = field.hint ? make("span", { class: "quiet small", text: field.hint }) : null;
  const flagging = (/** @type {HTMLElement} */ node) => (/** @type {boolean} */ wrong) => {
    if (wrong) node.setAttribute("aria-invalid", "true");
    else node.removeAttribute("aria-invalid");
    setText(error, wrong ? t().required : "");
  };
  if (field.kind === "several") {
    const boxes = (field.options ?? []).map(([value]) => make("input", { type: "checkbox", value }));
    const root = make("fieldset", { id }, make("legend", { class: "label", text: field.label }),
      ...boxes.map((box, n) => make("label", { class: "check" }, box, make("span", { text: field.options?.[n][1] ?? "" }))), error);
    return { label: root, read: () => boxes.filter((box) => box.checked).map((box) => box.value), flag: flagging(root), focus: () => boxes[0]?.focus() };
  }
  if (field.kind === "check") {
    const box = make("input", { id, type: "checkbox" });
    return { label: make("label", { class: "check", for: id }, box, make("span", { text: field.label })), read: () => (box.checked ? "true" : ""), flag: () => {}, focus: () => box.focus() };
  }
  const about = { id, "aria-describedby": error.id, "aria-required": field.required ? "true" : undefined };
  const input = field.kind === "select" ? make("select", about) : field.kind === "long" ? make("textarea", about) : make("input", { ...about, autocomplete: "off" });
  if (input instanceof HTMLSelectElement) input.append(...(field.options ?? []).map(([value, text]) => new Option(text, value, false, value === field.value)));
  else input.value = field.value ?? "";
  const label = make("label", { for: id }, make("span", { text: field.label + (field.required ? " *" : "") }), input, hint, error);
  return { label, read: () => input.value.trim(), flag: flagging(input), focus: () => input.focus() };
}

