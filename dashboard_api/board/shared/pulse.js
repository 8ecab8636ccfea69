/**
 * Is the centre still there?
 *
 * A question that costs it next to nothing is asked every two seconds while somebody looks. What a page shows is marked
 * as old before it is five seconds that nobody answered; when the answer is back the page is told to read anew.
 */

import { Freshness } from "./time.js";

const BEAT_MS = 2000;
/** Longer than a bad link takes for a few hundred bytes. */
const ANSWER_MAX_MS = 3000;
const STALE_AFTER_MS = 4500;
const LOOK_EVERY_MS = 250;

/**
 * Begins to ask. `changed` is told whether the link is there, whenever that changes.
 * @param {(isFresh: boolean, heardAtMs: number) => void} changed
 */
export function watchLink(changed) {
  const freshness = new Freshness();
  freshness.heard();
  let isFresh = true;
  const look = () => {
    const now = !freshness.isStale(STALE_AFTER_MS);
    if (now === isFresh) return;
    isFresh = now;
    changed(isFresh, freshness.heardAtMs ?? Date.now());
  };
  const beat = async () => {
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), ANSWER_MAX_MS);
    try {
      const answer = await fetch(new URL("healthz", document.baseURI), { signal: stop.signal, cache: "no-store" });
      if (answer.ok) freshness.heard();
    } catch { /* not heard is what is looked at */ } finally {
      clearTimeout(timer);
      look();
      setTimeout(next, BEAT_MS);
    }
  };
  const next = () => {
    if (document.visibilityState === "visible") beat();
    else document.addEventListener("visibilitychange", () => beat(), { once: true });
  };
  setInterval(() => {
    if (document.visibilityState === "visible") look();
  }, LOOK_EVERY_MS);
  next();
}
