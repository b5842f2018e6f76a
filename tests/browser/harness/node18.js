// @ts-check
// Lets Node 18 load files made for a browser: node --import ./harness/node18.js
//
// Node loads a file as a module only if a package.json says so, and the shipped files have none.

import { webcrypto } from "node:crypto";
import { register } from "node:module";

Object.defineProperty(globalThis, "crypto", { value: webcrypto, configurable: true });
register(import.meta.resolve("./module-format.js"));
