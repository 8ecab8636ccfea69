/** Where is it? By the phone's position, or by choosing down the tree of areas. */

import { get } from "../shared/api.js";
import { at, make, say } from "../shared/dom.js";
import { nameOf, onLanguage } from "../shared/texts.js";
import { texts } from "./texts.js";

const POSITION_MAX_MS = 20_000;
/** A position that is so old may have been taken somewhere else. */
const POSITION_AGE_MAX_MS = 30_000;
/** A ten-thousandth of this is about ten metres: closer than phones know it in a street. */
const DIGITS = 5;

/** @typedef {{id: string, code: string, parent: string | null, names: Record<string, string>}} Area */

/** The part of the form that says where. `changed` is told of each choice. */
export class Place {
  /** @param {string} list the present code list of areas @param {() => void} changed */
  constructor(list, changed) {
    this._list = list;
    this._changed = changed;
    /** A geo URI. @type {string | null} */
    this.place = null;
    /** A code of the present list. @type {string | null} */
    this.area = null;
    /** @type {Area[] | null} */
    this._areas = null;
    this._root = "";
    this._isOpen = false;
    /** What is said about the position. @type {() => string} */
    this._told = () => "";
    at("locate").addEventListener("click", () => this._locate());
    at("pick").addEventListener("click", () => this.open());
    onLanguage(() => this.draw());
  }

  /** @param {string | null} place @param {string | null} area */
  restore(place, area) {
    this.place = place;
    this.area = area;
    this._told = () => (this.place === null ? "" : texts().located(accuracyOf(this.place)));
    if (area !== null) this.open(false);
    else this._isOpen = false;
    this.draw();
  }

  /** Lets the area be chosen; it takes the place of the position. @param {boolean} [takesFocus] */
  async open(takesFocus = true) {
    this._isOpen = true;
    this.place = null;
    this._told = () => "";
    this.draw();
    if (this._areas === null) {
      try {
        const found = await get(`/v1/areas?list=${encodeURIComponent(this._list)}`);
        this._root = found.root;
        this._areas = found.items;
      } catch {
        this._isOpen = false;
        this._told = () => texts().areaFailed;
      }
      this.draw();
    }
    if (takesFocus) at("areas").querySelector("select")?.focus();
    this._changed();
  }

  draw() {
    at("locate").textContent = this.place === null ? texts().locate : texts().locateAgain;
    at("locate").hidden = !("geolocation" in navigator) || !isSecureContext;
    at("locate").className = this._isOpen ? "" : "main";
    at("pick").hidden = this._isOpen;
    at("pick").textContent = this.place === null ? texts().pickArea : texts().pickOther;
    say(at("located"), this._told());
    this._drawAreas();
  }

  _drawAreas() {
    const root = at("areas");
    root.hidden = !this._isOpen;
    if (!this._isOpen) return;
    if (this._areas === null) {
      root.replaceChildren(make("p", { class: "quiet", role: "status" }, texts().areaLoading));
      return;
    }
    const areas = this._areas;
    const byCode = new Map(areas.map((one) => [one.code, one]));
    const byId = new Map(areas.map((one) => [one.id, one]));
    /** @type {Area[]} */
    const chain = [];
    for (let one = byCode.get(this.area ?? ""); one !== undefined; one = byId.get(one.parent ?? "")) chain.unshift(one);
    if (chain.length === 0) chain.push(/** @type {Area} */ (byId.get(this._root)));
    if (areas.length === 1) this.area = chain[0].code;
    const focused = /** @type {HTMLElement | null} */ (document.activeElement)?.dataset?.level;
    const selects = chain.flatMap((within, level) => {
      const below = areas.filter((one) => one.parent === within.id);
      if (below.length === 0) return [];
      const chosen = chain[level + 1]?.code ?? "";
      const select = make("select", { "data-level": `${level}` });
      const named = below.map((one) => ({ code: one.code, name: nameOf(one.names, one.code) }));
      named.sort((a, b) => a.name.localeCompare(b.name, "vi", { numeric: true }));
      select.append(new Option(texts().areaAny, ""), ...named.map((one) => new Option(one.name, one.code)));
      select.value = chosen;
      select.addEventListener("change", () => {
        // What is taken back leaves the area above; the whole site says nothing.
        this.area = select.value || (level === 0 ? null : within.code);
        this.draw();
        this._changed();
      });
      const label = level === 0 ? texts().areaOf : texts().areaWithin(nameOf(within.names, within.code));
      return [make("label", {}, make("span", {}, label), select)];
    });
    root.replaceChildren(...selects);
    if (focused !== undefined) /** @type {HTMLElement | null} */ (root.querySelector(`[data-level="${focused}"]`))?.focus();
  }

  _locate() {
    this._told = () => texts().locating;
    this.draw();
    navigator.geolocation.getCurrentPosition(
      ({ coords }) => {
        this.place = geoOf(coords);
        this.area = null;
        this._isOpen = false;
        this._told = () => texts().located(accuracyOf(this.place ?? ""));
        this.draw();
        this._changed();
      },
      (error) => {
        const isRefused = error.code === error.PERMISSION_DENIED;
        this.open();
        this._told = () => (isRefused ? texts().positionRefused : texts().noPosition);
        this.draw();
      },
      { enableHighAccuracy: true, timeout: POSITION_MAX_MS, maximumAge: POSITION_AGE_MAX_MS },
    );
  }
}

/** RFC 5870, with how far off it may be. @param {{latitude: number, longitude: number, accuracy: number}} coords */
export function geoOf({ latitude, longitude, accuracy }) {
  return `geo:${latitude.toFixed(DIGITS)},${longitude.toFixed(DIGITS)};u=${Math.ceil(accuracy)}`;
}

/** @param {string} place */
const accuracyOf = (place) => /;u=(\d+)/.exec(place)?.[1] ?? "?";
