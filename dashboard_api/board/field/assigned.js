/**
 * How far is the unit with a case, and what can it do next?
 *
 * Pure functions of what the centre said last and of what waits in the outbox.
 */

/** @typedef {import("./outbox.js").Item} Item */
/** @typedef {{number: number, unit: string, step: string, at: Record<string, string>, awaits?: string, due_at?: string, reason?: string}} Offer */
/** @typedef {{item: any, offer: Offer | null, detailVersion: number, timeline: any[], arrivedAt: string}} Assigned
 * `item` is the case as lists have it, `arrivedAt` when this phone first heard of it. */

/** The steps in their order. */
export const STEPS = ["offered", "delivered", "seen", "accepted", "en_route", "on_scene", "done"];
/** Those that somebody presses. */
export const PRESSED = ["accepted", "en_route", "on_scene", "done"];
const OVER = ["done", "declined", "missed", "withdrawn"];

/** The newest offer to a unit. @param {{offers?: Offer[]}} detail @param {string} unit @returns {Offer | null} */
export function offerTo(detail, unit) {
  return detail.offers?.filter((offer) => offer.unit === unit).at(-1) ?? null;
}

/** What waits about an offer, refused left out. @param {Item[]} items @param {string} id @param {number} offer */
export function underWay(items, id, offer) {
  return items.filter((item) => item.state !== "rejected" && "case" in item.about && item.about.case === id && item.do.offer === offer);
}

/**
 * Each step that was taken, with its time and whether it is still under way; and what comes next.
 * @param {Offer} offer @param {Item[]} under
 * @returns {{taken: {step: string, time: string, waits: boolean}[], next: string | null, mayDecline: boolean}}
 */
export function progress(offer, under) {
  /** @type {Map<string, {step: string, time: string, waits: boolean}>} */
  const taken = new Map(Object.entries(offer.at).map(([step, time]) => [step, { step, time, waits: false }]));
  for (const item of under) {
    const step = item.do.step;
    if (step && !taken.has(step)) taken.set(step, { step, time: item.time, waits: true });
  }
  const over = OVER.some((step) => taken.has(step)) || OVER.includes(offer.step);
  const furthest = Math.max(0, ...[...taken.keys()].map((step) => STEPS.indexOf(step)));
  return {
    taken: [...taken.values()].sort((a, b) => Date.parse(a.time) - Date.parse(b.time) || STEPS.indexOf(a.step) - STEPS.indexOf(b.step)),
    next: over ? null : PRESSED.find((step) => STEPS.indexOf(step) > furthest) ?? null,
    mayDecline: !over && furthest < STEPS.indexOf("on_scene"),
  };
}

/** What the centre shows as done already, though it has not said so yet. @param {Offer} offer @param {Item[]} under */
export function arrived(offer, under) {
  return under.filter(({ do: { step }, time }) => step && offer.at[step] && Date.parse(offer.at[step]) === Date.parse(time));
}

/** The offer with a step that the centre has applied. @param {Offer} offer @param {string} step @param {string} time @returns {Offer} */
export function stepped(offer, step, time) {
  const further = STEPS.indexOf(step) > STEPS.indexOf(offer.step) || !STEPS.includes(step);
  return { ...offer, at: { ...offer.at, [step]: offer.at[step] ?? time }, step: further ? step : offer.step };
}

/** Latitude and longitude of a `geo:` address. @param {string | undefined} place @returns {[number, number] | null} */
export function pointOf(place) {
  const found = /^geo:(-?[\d.]+),(-?[\d.]+)/.exec(place ?? "");
  return found ? [Number(found[1]), Number(found[2])] : null;
}

/** The time to write down: this device's, put right where its clock is more than a minute off. @param {number} offsetMs @param {number} [nowMs] */
export function stamp(offsetMs, nowMs = Date.now()) {
  return new Date(nowMs + (Math.abs(offsetMs) > 60_000 ? offsetMs : 0)).toISOString();
}
