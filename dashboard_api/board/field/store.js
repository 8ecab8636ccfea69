/**
 * What does the phone keep while there is no link?
 *
 * One database with two stores: `outbox`, what somebody did and the centre has not decided yet, in the order in which
 * it was done; and `kept`, what was last known. Used by the page and by its service worker.
 */

const DATABASE = "ioc-field";
const SCHEMA = 1;

/** @type {Promise<IDBDatabase> | null} */
let opened = null;

function database() {
  opened ??= new Promise((done, fail) => {
    const request = indexedDB.open(DATABASE, SCHEMA);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("outbox", { keyPath: "n", autoIncrement: true }).createIndex("id", "id", { unique: true });
      request.result.createObjectStore("kept");
    };
    request.onsuccess = () => {
      // Another tab with a newer version of this page must not wait for this one.
      request.result.onversionchange = () => { request.result.close(); opened = null; };
      done(request.result);
    };
    request.onerror = () => { opened = null; fail(request.error); };
  });
  return opened;
}

/**
 * One transaction. What `work` returns is answered when it has been written.
 * @template T @param {"outbox" | "kept"} name @param {IDBTransactionMode} mode @param {(store: IDBObjectStore) => IDBRequest<T>} work
 * @returns {Promise<T>}
 */
export async function within(name, mode, work) {
  const at = await database();
  return new Promise((done, fail) => {
    // Strict: who saw a step taken down must find it again after the battery has gone.
    const transaction = at.transaction(name, mode, { durability: "strict" });
    const request = work(transaction.objectStore(name));
    transaction.oncomplete = () => done(request.result);
    transaction.onabort = () => fail(transaction.error);
    transaction.onerror = () => fail(transaction.error);
  });
}

/** What was kept under a key; undefined for nothing. @param {string} key @returns {Promise<any>} */
export const kept = (key) => within("kept", "readonly", (store) => store.get(key));

/** @param {string} key @param {unknown} value */
export const keepValue = (key, value) => within("kept", "readwrite", (store) => store.put(value, key));

/** @param {string} key */
export const forget = (key) => within("kept", "readwrite", (store) => store.delete(key));
