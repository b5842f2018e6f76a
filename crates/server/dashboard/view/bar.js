// @ts-check
import { onLanguage, switchLanguage, word } from "../words/language.js";
import { ago, timeOfDay } from "../words/time.js";
import { announce } from "./announcer.js";
import { part, setText } from "./dom.js";
import { redraw, withTime } from "./frames.js";
import { shownTime } from "./moment.js";
/** @typedef {import("../live/live.js").Live} Live */

const root = document.documentElement;

function startTheme() {
  const button = part("theme");
  const label = () => {
    const words = word(root.dataset.theme === "dark" ? "themeToLight" : "themeToDark");
    button.setAttribute("aria-label", words);
    button.title = words;
  };
  button.addEventListener("click", () => {
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("token-manager.theme", root.dataset.theme);
    } catch {
      // Without storage the choice holds until the page is left.
    }
    label();
    dispatchEvent(new Event("theme"));
  });
  onLanguage(label);
  label();
}

function startLanguage() {
  const button = part("language");
  const label = () => {
    const [whole, short] = button.children;
    setText(whole, word("otherLanguage"));
    setText(short, word("otherLanguageShort"));
    button.lang = root.lang === "en" ? "pt-BR" : "en";
  };
  button.addEventListener("click", switchLanguage);
  onLanguage(label);
  label();
}

/** @param {Live} live */
function startConnection(live) {
  const connection = part("connection");
  const banner = part("banner");
  let before = live.state;
  const draw = () => {
    connection.dataset.state = live.state;
    root.dataset.connection = live.state;
    setText(connection, word(live.state));
    banner.hidden = live.state !== "lost";
    if (banner.hidden) return;
    const heard = live.lastHeard > 0 && live.pool.tokens.length > 0;
    const passed = performance.now() - live.lastHeard;
    setText(part("banner-text"), heard
      ? word("lostSince", { time: timeOfDay(shownTime(live)), ago: ago(passed) })
      : "");
  };
  live.addEventListener("state", () => {
    if (live.state === "lost" && before !== "lost") announce(word("announceLost"));
    if (live.state === "live" && before === "lost") announce(word("announceBack"));
    // On the way back it may be connecting first.
    if (live.state !== "connecting") before = live.state;
    redraw(draw);
  });
  onLanguage(draw);
  withTime(() => live.state === "lost" && draw());
  draw();
}

/** The bar at the top, and below it what there is to say of a lost connection.
 * @param {Live} live */
export function startBar(live) {
  startTheme();
  startLanguage();
  startConnection(live);
}
