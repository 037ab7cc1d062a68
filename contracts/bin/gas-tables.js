// Writes gas/TABLES.md from the figures that the tests keep in gas/*.json. With an argument: to that file instead.
"use strict";
const fs = require("fs");
const path = require("path");

const gas = path.join(__dirname, "../gas");
const read = (name) => JSON.parse(fs.readFileSync(path.join(gas, `${name}.json`), "utf8"));
const number = (value) => Number(value).toLocaleString("en-US");

/** {"path: part": "1"} as [[path, {part: 1}]]. */
function grouped(name) {
  const groups = new Map();
  for (const [key, value] of Object.entries(read(name))) {
    const at = key.lastIndexOf(": ");
    const group = groups.get(key.slice(0, at)) || {};
    group[key.slice(at + 2)] = Number(value);
    groups.set(key.slice(0, at), group);
  }
  return [...groups];
}

const row = (cells) => `| ${cells.join(" | ")} |`;
const table = (head, rows) => [row(head), row(head.map(() => "---")), ...rows.map(row)].join("\n");

const parts = ["data", "own storage", "token", "calls", "signatures", "events", "refund", "computing"];
const breakdown = table(
  ["path", "total", "transaction", ...parts, "without computing"],
  grouped("Breakdown").map(([name, of]) => [
    name,
    number(of.total),
    number(21000),
    ...parts.map((part) => (part === "refund" && of.refund ? `-${number(of.refund)}` : number(of[part]))),
    number(of.total - of.computing),
  ]),
);
const points = ["1", "10", "100", "each", "most", "gas of the most"];
const curves = table(
  ["batch", "gas of 1", "of 10", "of 100", "each further", "most in a block", "gas of that"],
  grouped("Curves").map(([name, of]) => [name, ...points.map((point) => (point in of ? number(of[point]) : ""))]),
);
const text = `# Gas tables

Written by \`bin/gas-tables.js\` from the figures that the tests compare; \`./check\` fails when it is not up to date.

## Where the gas goes

Each path's parts by the fee schedule: what the transaction itself costs, its data, the slots of this contract and of the
token, calls to other accounts, signature checks, events, the refund for cleared slots. The rest is computing.

${breakdown}

## Batches, to a block of 30,000,000 gas

The longest batch was sent, not computed. Everything in it is new (channels, places, payees) where it does not say later or
top-up. Where it does not say batch, it is one call, by the length of the list or proof that its sender chooses; lists and
paths that may not be longer stay below a block.

${curves}
`;
fs.writeFileSync(process.argv[2] || path.join(gas, "TABLES.md"), text);
