/** How is an element made? What people wrote goes in as text and never as markup. */

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, string | boolean | EventListener | undefined>} [about] attributes; `text`, and `onclick` and the like
 * @param {...(Node | string | null | undefined | false)} inside
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, about = {}, ...inside) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(about)) {
    if (value === undefined || value === false) continue;
    if (name === "text") node.textContent = String(value);
    else if (typeof value === "function") node.addEventListener(name.replace(/^on/, ""), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...inside.filter((one) => one !== null && one !== undefined && one !== false));
  return node;
}

/** @template {HTMLElement} [T=HTMLElement] @param {string} id @returns {T} */
export const at = (id) => /** @type {T} */ (document.getElementById(id));

/** Writes a text only where it changed, so that nothing is read out twice. @param {Node} node @param {string} text */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Shows a text, or hides its element where there is none. @param {HTMLElement} node @param {string} text */
export function say(node, text) {
  node.textContent = text;
  node.hidden = text === "";
}

/** Whether an address may be linked to: nothing but the web. @param {string} address */
export function isWebAddress(address) {
  return /^https?:\/\//i.test(address);
}
