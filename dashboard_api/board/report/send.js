/**
 * How does a report reach the centre once, however bad the link is?
 *
 * The same words are sent with the same key until the centre has answered, so that it is one report whichever of the
 * attempts came through.
 */

import { ApiError } from "../shared/api.js";

/** Longer than a bad link takes; then it is tried again. */
const ANSWER_MAX_MS = 20_000;
const PAUSES_MS = [1000, 2000, 4000, 8000, 15_000];
/** A gateway that cannot reach the centre, and a centre that cannot reach its log. */
const LATER = [0, 408, 429, 500, 502, 503, 504];

/** @typedef {{reference: string, secret: string, follow: string}} Reported */

/**
 * Sends until it is answered. `waits` is told why it is not there yet. Raises ApiError when the centre does not want
 * it, and the signal's reason when it is aborted.
 * @param {string} body @param {string} key @param {AbortSignal} signal
 * @param {(error: ApiError, pauseMs: number) => void} waits
 * @returns {Promise<Reported>}
 */
export async function sendReport(body, key, signal, waits) {
  for (let n = 0; ; n += 1) {
    let pauseMs = PAUSES_MS[Math.min(n, PAUSES_MS.length - 1)];
    try {
      return await attempt(body, key, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof ApiError) || !LATER.includes(error.status)) throw error;
      if (error.status === 429) pauseMs = Math.max(pauseMs, retryAfterMs.get(error) ?? 0);
      waits(error, pauseMs);
    }
    await paused(pauseMs, signal);
  }
}

/** @type {WeakMap<ApiError, number>} */
const retryAfterMs = new WeakMap();

/** @param {string} body @param {string} key @param {AbortSignal} signal @returns {Promise<Reported>} */
async function attempt(body, key, signal) {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), ANSWER_MAX_MS);
  const forward = () => stop.abort();
  signal.addEventListener("abort", forward);
  try {
    const answer = await fetch(new URL("v1/reports", document.baseURI), {
      method: "POST",
      headers: { "Content-Type": "application/json", "Idempotency-Key": key, "IOC-Request": "1" },
      body,
      signal: stop.signal,
    });
    if (answer.ok) return await answer.json();
    const error = new ApiError(answer.status, await answer.json().catch(() => ({})));
    retryAfterMs.set(error, Number(answer.headers.get("Retry-After") ?? 0) * 1000);
    throw error;
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw new ApiError(0, { detail: error instanceof Error ? error.message : String(error) });
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", forward);
  }
}

/** A pause, which ends early when the link is back. @param {number} ms @param {AbortSignal} signal */
function paused(ms, signal) {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      removeEventListener("online", end);
      signal.removeEventListener("abort", end);
      if (signal.aborted) reject(signal.reason);
      else resolve(undefined);
    };
    const timer = setTimeout(end, ms);
    addEventListener("online", end);
    signal.addEventListener("abort", end);
  });
}
