// @ts-check
import { poolPath } from "../live/where.js";
import { word } from "../words/language.js";

/** Path of a token's drawer, by its id or name. @param {string} pool @param {string} token */
export const tokenPath = (pool, token) => poolPath(pool, `token=${encodeURIComponent(token)}`);

/** A token's name as a title: the names of generated tokens are their numbers. @param {string} name */
export const tokenTitle = (name) =>
  (/^\d+$/.test(name) ? word("token", { number: name }) : name);

/** The same within a sentence. @param {string} name */
export const tokenInText = (name) =>
  (/^\d+$/.test(name) ? word("tokenInText", { number: name }) : name);
