// Copies of the project to plant bugs in: the tree itself is never touched.
"use strict";
const fs = require("fs");
const os = require("os");
const path = require("path");

const root = path.join(__dirname, "..");

/** Those files and folders in a temporary folder, gone when the process ends. */
function copyOf(names) {
  const copy = fs.mkdtempSync(path.join(os.tmpdir(), "mutants-"));
  process.on("exit", () => fs.rmSync(copy, { recursive: true, force: true }));
  for (const name of names) {
    fs.cpSync(path.join(root, name), path.join(copy, name), { recursive: true });
  }
  fs.symlinkSync(path.join(root, "node_modules"), path.join(copy, "node_modules"));
  return copy;
}

/** What `look` answers while one line of the copy is another. */
function withBug(copy, { bug, file, from, to }, look) {
  const target = path.join(copy, file);
  const sound = fs.readFileSync(target, "utf8");
  if (sound.split(from).length !== 2) throw new Error(`${bug}: ${file} does not hold its line exactly once`);
  fs.writeFileSync(target, sound.replace(from, () => to));
  const answer = look();
  fs.writeFileSync(target, sound);
  return answer;
}

module.exports = { root, copyOf, withBug };
