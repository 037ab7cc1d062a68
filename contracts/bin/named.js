// Sees to it that every test the pages name is there: `test_...`, `invariant_...` and the services' tests by their names.
"use strict";
const fs = require("fs");
const path = require("path");

const root = path.join(__dirname, "..");
const skipped = new Set(["node_modules", "target", "out", "cache", "artifacts"]);

/** Sources under a folder, hidden folders and build output left out. */
function sourcesOf(folder) {
  return fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) return entry.name.startsWith(".") || skipped.has(entry.name) ? [] : sourcesOf(file);
    return /\.(sol|rs)$/.test(entry.name) ? [fs.readFileSync(file, "utf8")] : [];
  });
}

const there = new Set();
for (const source of sourcesOf(path.join(root, ".."))) {
  for (const [, name] of source.matchAll(/\b(?:function|fn|contract) (\w+)/g)) there.add(name);
}
// A test's name is a sentence: three words at least. `invariant_I1_...` stands for whatever begins like that.
const isTest = (name) => /^(test\w*|invariant)_|^[a-z0-9]+(_[a-z0-9]+){3,}$|Test$/.test(name);
const isThere = (name) => (name.endsWith("_") ? [...there].some((one) => one.startsWith(name)) : there.has(name));
let missing = 0;
for (const page of ["README.md", "PITFALLS.md", "FEATURES.md"]) {
  const text = fs.readFileSync(path.join(root, page), "utf8");
  for (const [, name] of text.matchAll(/`(\w+)…?`/g)) {
    if (!isTest(name) || isThere(name)) continue;
    ++missing;
    console.error(`${page} names ${name}, which is no test`);
  }
}
process.exitCode = missing === 0 ? 0 : 1;
