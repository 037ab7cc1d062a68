// Compares what slither found with analysis/explained.json: anything unexplained fails, and so does an explanation of
// something that is not there any more.
"use strict";
const fs = require("fs");
const path = require("path");

const report = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
if (!report.success) throw new Error(`slither failed: ${report.error}`);
const explained = JSON.parse(fs.readFileSync(path.join(__dirname, "../analysis/explained.json"), "utf8"));
const key = (check, name) => `${check} ${name}`;
const known = new Set(explained.flatMap(({ check, where }) => where.map((name) => key(check, name))));
const found = report.results.detectors || [];
const seen = new Set(found.map(({ check, elements }) => key(check, elements[0].name)));

const unexplained = found.filter(({ check, elements }) => !known.has(key(check, elements[0].name)));
const stale = [...known].filter((name) => !seen.has(name));
unexplained.forEach(({ impact, description }) => console.log(`UNEXPLAINED ${impact}: ${description.trim()}`));
stale.forEach((name) => console.log(`GONE ${name}: take its explanation out`));
console.log(`${found.length} findings, ${unexplained.length} without an explanation`);
process.exitCode = unexplained.length + stale.length === 0 ? 0 : 1;
