// Compares what slither found with analysis/explained.json, one by one: detector, place, and a hash of the source lines
// found. A finding that is new or whose lines changed fails, and so does an explanation of something that is not there
// any more. An entry of `where` reads "Contract.function hash"; what fails is printed as the entry it would need.
"use strict";
const crypto = require("crypto");
const fs = require("fs");
const path = require("path");

const root = path.join(__dirname, "..");
const report = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
if (!report.success) throw new Error(`slither failed: ${report.error}`);
const explained = JSON.parse(fs.readFileSync(path.join(root, "analysis/explained.json"), "utf8"));

/** The names of an element and of what it stands in. */
function nameOf({ name, type, type_specific_fields: fields }) {
  const parent = fields && fields.parent;
  const own = type === "node" ? [] : [name];
  return [...(parent ? [nameOf(parent)] : []), ...own].join(".");
}

/** Lines and variables by their source, without its spacing; whole functions and contracts by their names. */
function textOf(element) {
  if (element.type !== "node" && element.type !== "variable") return nameOf(element);
  const { filename_relative: file, start, length } = element.source_mapping;
  const source = fs.readFileSync(path.join(root, file)).subarray(start, start + length);
  return source.toString("utf8").replace(/\s+/g, " ");
}

const entryOf = ({ check, elements }) => {
  const hash = crypto.createHash("sha256").update(elements.map(textOf).sort().join("\n")).digest("hex");
  return `${check} ${nameOf(elements[0])} ${hash.slice(0, 12)}`;
};

// Each explanation covers one finding: the same lines found a second time need a second one.
const left = explained.flatMap(({ check, where }) => where.map((entry) => `${check} ${entry}`));
const found = report.results.detectors || [];
let unexplained = 0;
for (const finding of found) {
  const entry = entryOf(finding);
  const at = left.indexOf(entry);
  if (at >= 0) {
    left.splice(at, 1);
    continue;
  }
  ++unexplained;
  console.log(`UNEXPLAINED ${finding.impact} ${entry}\n${finding.description.trim()}`);
}
left.forEach((entry) => console.log(`GONE ${entry}: take its explanation out`));
console.log(`${found.length} findings, ${unexplained} without an explanation, ${left.length} explanations of nothing`);
process.exitCode = found.length !== 0 && unexplained + left.length === 0 ? 0 : 1;
