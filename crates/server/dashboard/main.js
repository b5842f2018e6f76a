// @ts-check
import { Live } from "./live/live.js";
import { startAllocating } from "./view/allocate.js";
import { startBar } from "./view/bar.js";
import { startChart } from "./view/chart.js";
import { startClearing } from "./view/clear.js";
import { startDrawer } from "./view/drawer.js";
import { startFeed } from "./view/feed.js";
import { startHeadline } from "./view/headline.js";
import { startSearch } from "./view/search.js";
import { startTokens } from "./view/tokens.js";
import { startUpgrade } from "./view/upgrade.js";
import { fillStaticWords } from "./words/language.js";

const live = new Live();
fillStaticWords();
startBar(live);
startHeadline(live);
startChart(live);
const open = startDrawer(live);
const tokens = startTokens(live, open);
startSearch(live, tokens, open);
startAllocating(live);
startClearing(live);
startFeed(live);
startUpgrade(live);
live.start();
