// @ts-check
import { rough } from "../words/duration.js";
import { number, onLanguage, word } from "../words/language.js";
import { arrange, make, nameOf, part, setText } from "./dom.js";
import { redraw, withTime } from "./frames.js";
import { isMe } from "./me.js";
import { shownTime } from "./moment.js";
/** @typedef {import("../live/live.js").Live} Live */
/** @typedef {import("../live/shape.js").Ticket} Ticket */

/** The token that a ticket waits for, and its note. @param {Ticket} ticket */
function wishOf({ tokenName, note }) {
  if (tokenName === null && note === null) return [];
  const wish = make("span", "wish");
  if (tokenName !== null) wish.append(word("queueWants", { token: tokenName }));
  if (tokenName !== null && note !== null) wish.append(" · ");
  if (note !== null) wish.append(make("bdi", "", note));
  wish.title = wish.textContent ?? "";
  return [wish];
}

/** The queue, in the order in which its tickets get a token. @param {Live} live */
export function startQueue(live) {
  const list = part("queue-list");
  /** @type {Map<string, HTMLElement>} by ticket and language */
  let items = new Map();

  const draw = () => {
    const { queue } = live;
    part("queue").hidden = queue.length === 0;
    const now = shownTime(live);
    /** @type {Map<string, HTMLElement>} */
    const next = new Map();
    for (const ticket of queue) {
      const key = `${ticket.id} ${document.documentElement.lang}`;
      const item = items.get(key) ?? make("li", "", make("span", "place"),
        make("span", "who", nameOf(ticket.user), make("b", "you")), make("span", "waited"),
        ...wishOf(ticket));
      const [place, who, waited] = item.children;
      item.dataset.ticket = ticket.id;
      const mine = isMe(ticket.user);
      item.toggleAttribute("data-mine", mine);
      setText(place, number(ticket.position));
      setText(/** @type {Element} */ (who.lastElementChild), mine ? word("queueYou") : "");
      setText(waited, word("queueWaited", { length: rough(Math.max(1000, now - ticket.since)) }));
      next.set(key, item);
    }
    items = next;
    arrange(list, [...items.values()]);
    const more = (live.info?.waiting ?? 0) - queue.length;
    setText(part("queue-more"), queue.length > 0 && more > 0 ? word("queueMore", { count: more }) : "");
  };

  for (const kind of ["queue", "info"]) live.addEventListener(kind, () => redraw(draw));
  withTime(() => live.queue.length > 0 && draw());
  onLanguage(draw);
}
