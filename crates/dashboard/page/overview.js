// @ts-check
import { fillStaticWords } from "./words/language.js";

fillStaticWords();
