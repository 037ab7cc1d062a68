// Has halmos prove each check of analysis/symbolic, then plants the bugs of its mutants.json one by one: each must give
// the named check a counterexample. A check that no bug is there for fails too.
"use strict";
const fs = require("fs");
const path = require("path");
const { spawnSync } = require("child_process");
const { root, copyOf, withBug } = require("./planted");

const [halmos, only = ""] = process.argv.slice(2);
const folder = "analysis/symbolic";
const mutants = JSON.parse(fs.readFileSync(path.join(root, folder, "mutants.json"), "utf8"));
const checks = fs
  .readdirSync(path.join(root, folder))
  .filter((name) => name.endsWith(".sol"))
  .flatMap((name) => [...fs.readFileSync(path.join(root, folder, name), "utf8").matchAll(/\bfunction (check_\w+)/g)])
  .map(([, name]) => name)
  .filter((name) => name.includes(only));
const copy = copyOf(["src/lib", folder, "bin", "foundry.toml"]);
const report = path.join(copy, "report.json");
// What halmos answers about a check.
const [proved, refuted] = [0, 1];
const words = ["proved", "counterexample", "no answer in time", "stuck", "nothing but reverts", "error"];
// What ends a look without an answer: halmos heeds no gentler signal.
const limit = { timeout: 120_000, killSignal: "SIGKILL" };

/** Answer and seconds. Only a whole look counts: every loop to its end. */
function look(check) {
  fs.rmSync(report, { force: true });
  const options = ["--match-test", `^${check}\\(`, "--json-output", report, "--solver-timeout-assertion", "60s"];
  const run = spawnSync(halmos, ["--root", copy, "--forge-build-out", "out", ...options], {
    cwd: copy,
    encoding: "utf8",
    maxBuffer: 1 << 28,
    ...limit,
  });
  if (run.signal !== null) return { answer: words.indexOf("no answer in time"), seconds: limit.timeout / 1000 };
  if (!fs.existsSync(report)) throw new Error(`${check}: ${run.stdout}${run.stderr}`);
  const results = Object.values(JSON.parse(fs.readFileSync(report, "utf8")).test_results).flat();
  if (results.length !== 1) throw new Error(`${check}: ${results.length} results\n${run.stdout}${run.stderr}`);
  const [{ exitcode, num_bounded_loops: cut, time }] = results;
  return { answer: cut === 0 ? exitcode : words.indexOf("stuck"), seconds: time[0].toFixed(1) };
}

let failed = 0;
for (const check of checks) {
  const { answer, seconds } = look(check);
  if (answer !== proved) ++failed;
  console.log(`${answer === proved ? "proved " : "FAILED "} ${check}: ${words[answer]}, ${seconds} s`);
  const bugs = mutants.filter(({ found_by }) => found_by === check);
  if (bugs.length === 0) {
    ++failed;
    console.log(`FAILED  ${check}: no bug shows that it can fail`);
  }
  for (const bug of bugs) {
    const seen = withBug(copy, bug, () => look(check));
    if (seen.answer !== refuted) ++failed;
    const outcome = `${words[seen.answer]}, ${seen.seconds} s`;
    console.log(`${seen.answer === refuted ? "found  " : "ESCAPED"} ${bug.bug} (${check}): ${outcome}`);
  }
}
const stray = mutants.filter(({ found_by }) => only === "" && !checks.includes(found_by));
stray.forEach(({ bug, found_by }) => console.log(`FAILED  ${bug}: there is no ${found_by}`));
failed += stray.length;
console.log(`${checks.length} checks, ${failed} failed`);
process.exitCode = failed === 0 && checks.length !== 0 ? 0 : 1;
