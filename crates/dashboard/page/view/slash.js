// @ts-check

/** Moves the focus to a search field when "/" is pressed elsewhere. @param {HTMLInputElement} field */
export function onSlash(field) {
  document.addEventListener("keydown", (event) => {
    const typing = event.target instanceof HTMLInputElement
      || event.target instanceof HTMLTextAreaElement;
    const meta = event.ctrlKey || event.metaKey || event.altKey;
    if (event.key !== "/" || meta || typing || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    field.focus();
    field.select();
  });
}
