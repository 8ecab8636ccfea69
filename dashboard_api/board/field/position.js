/**
 * Where is the unit, if its people want the centre to know?
 *
 * Off until somebody switches it on, and off again at will. Only the newest position is of use, so that none is queued: one
 * that cannot be sent is dropped. Not more often than the centre has use for.
 */

import { newId } from "../shared/api.js";

/** Between two positions that are sent. */
const EVERY_MS = 30_000;
const SEND_WAIT_MS = 20_000;

/** @type {number | null} */
let watch = null;
let sentAtMs = 0;

export const isPossible = () => "geolocation" in navigator && isSecureContext;

/** @param {string} unit @param {(trouble: string | null) => void} tell what keeps it from working, or null when one was sent */
export function start(unit, tell) {
  stop();
  watch = navigator.geolocation.watchPosition(
    (position) => send(unit, position).then(tell),
    (error) => tell(error.message || `${error.code}`),
    { enableHighAccuracy: true, maximumAge: EVERY_MS },
  );
}

export function stop() {
  if (watch !== null) navigator.geolocation.clearWatch(watch);
  watch = null;
  sentAtMs = 0;
}

/** @param {string} unit @param {GeolocationPosition} position @returns {Promise<string | null>} */
async function send(unit, { coords, timestamp }) {
  if (Date.now() - sentAtMs < EVERY_MS) return null;
  sentAtMs = Date.now();
  const { latitude, longitude, speed } = coords;
  const event = {
    specversion: "1.0",
    id: newId(),
    source: `unit:${unit}`,
    type: "ioc.unit.position.v1",
    time: new Date(timestamp).toISOString(),
    place: `geo:${latitude.toFixed(5)},${longitude.toFixed(5)}`,
    data: { unit, ...(speed === null || speed < 0 ? {} : { speed_mps: Math.round(speed * 10) / 10 }) },
  };
  try {
    const answer = await fetch(new URL("../v1/events", import.meta.url), {
      method: "POST",
      headers: { "Content-Type": "application/cloudevents+json", "IOC-Request": "1" },
      body: JSON.stringify(event),
      credentials: "same-origin",
      signal: AbortSignal.timeout(SEND_WAIT_MS),
    });
    if (answer.ok) return null;
    const told = await answer.json().catch(() => ({}));
    return told.results?.[0]?.detail ?? told.detail ?? `${answer.status}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
