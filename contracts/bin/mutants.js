// Plants each bug of test/mutants.json in a copy of the project and sees to it that the named tests fail.
"use strict";
const fs = require("fs");
const os = require("os");
const path = require("path");
const { spawnSync } = require("child_process");

const [forge, only] = process.argv.slice(2);
const root = path.join(__dirname, "..");
const all = JSON.parse(fs.readFileSync(path.join(root, "test/mutants.json"), "utf8"));
const range = /^(\d+)-(\d+)$/.exec(only || "");
const mutants = range
  ? all.slice(range[1] - 1, range[2])
  : all.filter(({ bug }) => !only || bug.includes(only));
const copy = fs.mkdtempSync(path.join(os.tmpdir(), "mutants-"));
process.on("exit", () => fs.rmSync(copy, { recursive: true, force: true }));
for (const name of ["src", "test", "bin", "artifacts", "vectors", "gas", "foundry.toml"]) {
  fs.cpSync(path.join(root, name), path.join(copy, name), { recursive: true });
}
fs.symlinkSync(path.join(root, "node_modules"), path.join(copy, "node_modules"));

let escaped = 0;
for (const { bug, file, from, to, found_by: foundBy } of mutants) {
  const target = path.join(copy, file);
  const sound = fs.readFileSync(target, "utf8");
  if (sound.split(from).length !== 2) throw new Error(`${bug}: ${file} does not hold its line exactly once`);
  fs.writeFileSync(target, sound.replace(from, () => to));
  const run = spawnSync(forge, ["test", "--match-path", foundBy], { cwd: copy, encoding: "utf8", maxBuffer: 1 << 28 });
  fs.writeFileSync(target, sound);
  const compiled = run.stdout.includes("Ran ");
  const found = compiled && run.status !== 0;
  if (!found) ++escaped;
  const reason = (run.stdout.match(/\[FAIL[^\]]*\]/) || [compiled ? "no test failed" : "did not compile"])[0];
  console.log(`${found ? "found  " : "ESCAPED"} ${bug} (${foundBy}): ${reason.slice(0, 100)}`);
}
console.log(`${mutants.length} of ${all.length} bugs planted, ${mutants.length - escaped} found, ${escaped} escaped`);
process.exitCode = escaped === 0 ? 0 : 1;
