// @ts-check
// Node before 20.19 takes a file for a module only if a package.json says so. What ships has none,
// so this says it: node --import ./harness/modules.js

import { register } from "node:module";

register(import.meta.resolve("./module-format.js"));
