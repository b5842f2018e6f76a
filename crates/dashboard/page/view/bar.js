// @ts-check
import { onLanguage, switchLanguage, word } from "../words/language.js";
import { ago, timeOfDay } from "../words/time.js";
import { announce } from "./announcer.js";
import { part, setText } from "./dom.js";
import { redraw, withTime } from "./frames.js";
import { shownTime } from "./moment.js";
import { problemWords } from "./problem.js";
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
      // Without storage the choice lasts until the page is closed.
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
  const unknown = () => live.why === "unknown-pool";
  const title = () => word(unknown() ? "unknownPool" : live.why === "too-many-streams" ? "streamsTitle"
    : live.problem ? "unreadTitle" : "lostTitle");
  const draw = () => {
    const answers = live.why !== undefined || live.problem !== null;
    connection.dataset.state = live.state;
    root.dataset.connection = live.state;
    setText(connection, word(unknown() ? "unknownPool"
      : live.state === "lost" && answers ? "notLive" : live.state));
    // The page says itself that the pool is unknown.
    banner.hidden = live.state !== "lost" || unknown();
    if (banner.hidden) return;
    setText(part("banner-title"), title());
    const passed = performance.now() - live.currentAt;
    setText(part("banner-text"), [
      live.problem && live.why === undefined ? problemWords(live.problem, true) : "",
      live.loaded ? word("lostSince", { time: timeOfDay(shownTime(live)), ago: ago(passed) }) : "",
      word(live.why ? "streamsRetry" : "lostRetry"),
    ].join(" ").trim());
  };
  live.addEventListener("state", () => {
    if (live.state === "lost" && before !== "lost") {
      announce(`${title()} ${word("announceLost")}`);
    }
    if (live.state === "live" && before === "lost") announce(word("announceBack"));
    // Before it is live again, the state may be connecting.
    if (live.state !== "connecting") before = live.state;
    redraw(draw);
  });
  onLanguage(draw);
  withTime(() => live.state === "lost" && draw());
  draw();
}

/** The bar at the top, and the notice of a lost connection below it.
 * @param {Live} live */
export function startBar(live) {
  startTheme();
  startLanguage();
  startConnection(live);
}
