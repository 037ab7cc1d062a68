// Writes the deployable contracts as artifacts/<name>.json: sorted, without anything that depends on the machine.
"use strict";
const fs = require("fs");
const path = require("path");

const root = path.join(__dirname, "..");
const target = process.argv[2] || path.join(root, "artifacts");
const names = ["HubChannels", "Token"];
// EIP-170: the longest code a chain accepts.
const limit = 24576;

fs.mkdirSync(target, { recursive: true });
for (const name of names) {
  const built = JSON.parse(fs.readFileSync(path.join(root, "out/release", `${name}.sol`, `${name}.json`), "utf8"));
  const size = (built.deployedBytecode.object.length - 2) / 2;
  process.stderr.write(`${name}: ${size} of ${limit} bytes\n`);
  if (size > limit) {
    process.stderr.write(`${name} is longer than a chain accepts\n`);
    process.exitCode = 1;
  }
  const artifact = {
    contractName: name,
    abi: built.abi,
    bytecode: built.bytecode.object,
    deployedBytecode: built.deployedBytecode.object,
  };
  fs.writeFileSync(path.join(target, `${name}.json`), JSON.stringify(artifact, null, 1) + "\n");
}
