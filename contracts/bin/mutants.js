// Plants each bug of test/mutants.json in a copy of the project and sees to it that the check that is there for it fails:
// `found_by` names the file, the test, and, where one test makes many checks, the words of the one.
"use strict";
const fs = require("fs");
const path = require("path");
const { spawnSync } = require("child_process");
const { root, copyOf, withBug } = require("./planted");

const [forge, only] = process.argv.slice(2);
const all = JSON.parse(fs.readFileSync(path.join(root, "test/mutants.json"), "utf8"));
const range = /^(\d+)-(\d+)$/.exec(only || "");
const mutants = range
  ? all.slice(range[1] - 1, range[2])
  : all.filter(({ bug }) => !only || bug.includes(only));
const copy = copyOf(["src", "test", "bin", "artifacts", "vectors", "gas", "foundry.toml"]);

/** Runs one test. Histories start from a fixed seed, so that what is found once is found always. */
function failuresOf(file, test) {
  // What an earlier bug was found with must not find this one.
  fs.rmSync(path.join(copy, "cache/fuzz"), { recursive: true, force: true });
  const run = spawnSync(forge, ["test", "--match-path", file, "--match-test", `^${test}`, "--fuzz-seed", "1"], {
    cwd: copy,
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  if (!run.stdout.includes("Ran ")) return { error: "did not compile, or no such test" };
  return { reasons: [...run.stdout.matchAll(/^\[FAIL: ([^\n]*)\] \w+\(/gm)].map(([, reason]) => reason) };
}

let escaped = 0;
for (const mutant of mutants) {
  const { bug, found_by: [tests, test, says = ""] } = mutant;
  const { error, reasons = [] } = withBug(copy, mutant, () => failuresOf(tests, test));
  const found = reasons.some((reason) => reason.includes(says));
  if (!found) ++escaped;
  const seen = reasons.length !== 0 ? reasons.join("; ") : error || "no test failed";
  console.log(`${found ? "found  " : "ESCAPED"} ${bug} (${test}): ${seen.slice(0, 160)}`);
}
console.log(`${mutants.length} of ${all.length} bugs planted, ${mutants.length - escaped} found, ${escaped} escaped`);
process.exitCode = escaped === 0 && mutants.length !== 0 ? 0 : 1;
