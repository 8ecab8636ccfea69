/**
 * How does the page open without a link, and who sends what waits when it is closed?
 *
 * The page's files are kept as one set: shown from the phone at once, and replaced all together when a newer set has
 * arrived whole. What the centre says is never kept here; the page keeps that in its database.
 */

import { items, sendWaiting } from "./outbox.js";

const CACHE = "ioc-field";
const FILES = [
  "../field", "manifest.webmanifest", "icon.svg", "icon-maskable.svg", "field.css", "field.js", "texts.js", "view.js",
  "assigned.js", "outbox.js", "store.js", "position.js", "wire.js",
  "../shared/palette.css", "../shared/base.css", "../shared/api.js", "../shared/dom.js", "../shared/texts.js", "../shared/time.js",
  "../shared/choice.js", "../shared/connection.js", "../shared/format.js",
].map((name) => new URL(name, import.meta.url).href);

const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));

/** Fetches all files, and keeps them only when all have come. */
async function renew() {
  const fetched = await Promise.all(FILES.map(async (address) => {
    const answer = await fetch(address, { cache: "no-cache" });
    if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
    return /** @type {const} */ ([address, answer]);
  }));
  const cache = await caches.open(CACHE);
  await Promise.all(fetched.map(([address, answer]) => cache.put(address, answer)));
}

worker.addEventListener("install", (event) => {
  event.waitUntil(renew().then(() => worker.skipWaiting()));
});

worker.addEventListener("activate", (event) => {
  event.waitUntil(worker.clients.claim());
});

worker.addEventListener("fetch", (event) => {
  const address = new URL(event.request.url);
  address.search = address.hash = "";
  if (event.request.method !== "GET" || !FILES.includes(address.href)) return;
  event.respondWith(caches.open(CACHE).then(async (cache) => (await cache.match(address.href)) ?? fetch(event.request)));
});

// The page asks when it has been loaded whole, so that it never gets half of the old files and half of the new.
worker.addEventListener("message", (event) => {
  if (event.data === "renew") event.waitUntil(renew().catch(() => { /* without a link the set stays as it is */ }));
});

worker.addEventListener("sync", (event) => {
  const sync = /** @type {ExtendableEvent} */ (event);
  sync.waitUntil((async () => {
    const waiting = (await items()).some((item) => item.state === "waiting");
    if (!waiting) return;
    // What somebody did is sent as that person or not at all.
    const answer = await fetch(new URL("../v1/me", import.meta.url), { credentials: "same-origin" });
    const me = await answer.json();
    const trouble = await sendWaiting(me.id ?? (me.asked ? "" : "anyone"));
    if (trouble) throw new Error(trouble.detail);
  })());
});
