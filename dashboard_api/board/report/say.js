/** Shows a text, or hides its element where there is none. @param {HTMLElement} node @param {string} text */
export function say(node, text) {
  node.textContent = text;
  node.hidden = text === "";
}
