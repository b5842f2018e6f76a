// @ts-check
// What Node 18 lacks for files that are made for a browser: node --import ./harness/node18.js
//
// It takes a file for a module only if a package.json says so, and what ships has none.

import { webcrypto } from "node:crypto";
import { register } from "node:module";

Object.defineProperty(globalThis, "crypto", { value: webcrypto, configurable: true });
register(import.meta.resolve("./module-format.js"));
