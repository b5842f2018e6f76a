// @ts-check
// A plain script at the head of the page: it sets theme and language before anything is drawn, and takes a code
// for signing in out of the address.
{
  /** @param {string} key */
  const kept = (key) => {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  };
  const root = document.documentElement;
  const theme = kept("token-manager.theme");
  const dark = theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "dark" : "light";
  const wanted = kept("token-manager.language")
    ?? navigator.languages.find((language) => /^(en|pt)\b/i.test(language)) ?? "en";
  root.lang = /^pt\b/i.test(wanted) ? "pt-BR" : "en";

  const code = /^#code=(.+)$/.exec(location.hash)?.[1];
  if (code !== undefined) {
    history.replaceState(null, "", location.pathname + location.search);
    /** @type {any} */ (window).signInCode = decodeURIComponent(code);
  }
}
