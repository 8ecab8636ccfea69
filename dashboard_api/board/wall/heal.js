/**
 * How does a screen that nobody touches come back by itself?
 *
 * After an upgrade, after an error and once a day it loads itself anew; but only when the centre answers, for a browser
 * that is told to reload while nobody answers shows its own error page, and stays there.
 */

const LOOK_EVERY_MS = 60_000;
const ASK_AGAIN_MS = 5000;
const DAY_MS = 24 * 60 * 60 * 1000;
/** Between two reloads, so that an error which comes at each start does not flicker. */
const RELOAD_APART_MS = 60_000;
const LAST_KEY = "ioc.wall.reloaded";

let isUnderWay = false;

/** Loads the page anew as soon as the centre answers. */
export async function reload() {
  if (isUnderWay) return;
  isUnderWay = true;
  const waitMs = Number(sessionStorage.getItem(LAST_KEY) ?? 0) + RELOAD_APART_MS - Date.now();
  await pause(Math.min(RELOAD_APART_MS, Math.max(0, waitMs)));
  while ((await version()) === null) await pause(ASK_AGAIN_MS);
  sessionStorage.setItem(LAST_KEY, String(Date.now()));
  location.reload();
}

/** From now on this page looks after itself. */
export async function lookAfter() {
  addEventListener("error", () => void reload());
  addEventListener("unhandledrejection", () => void reload());
  setTimeout(() => void reload(), DAY_MS);
  stayOn();
  document.addEventListener("visibilitychange", stayOn);
  let known = await version();
  setInterval(async () => {
    const now = await version();
    if (known !== null && now !== null && now !== known) void reload();
    known ??= now;
  }, LOOK_EVERY_MS);
}

/** Which version of the pages the centre has; null while it does not answer. */
async function version() {
  try {
    const answer = await fetch(new URL("wall", document.baseURI), { method: "HEAD", cache: "no-store" });
    return answer.ok ? answer.headers.get("IOC-Pages") : null;
  } catch {
    return null;
  }
}

/** Asks that the screen is not switched off. Only pages of https may. */
function stayOn() {
  if (document.visibilityState === "visible") navigator.wakeLock?.request("screen").catch(() => {});
}

/** @param {number} ms */
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
