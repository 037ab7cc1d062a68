// Writes the deployable contracts as artifacts/<name>.json: without anything that depends on the machine.
"use strict";
const fs = require("fs");
const path = require("path");

const root = path.join(__dirname, "..");
const target = process.argv[2] || path.join(root, "artifacts");
// EIP-170 and EIP-3860: the longest code and creation code a chain accepts.
const codeLimit = 24576;
const creationLimit = 2 * codeLimit;

const built = (name) =>
  JSON.parse(fs.readFileSync(path.join(root, "out/release", `${name}.sol`, `${name}.json`), "utf8"));
const size = (code) => (code.object.length - 2) / 2;

function measure(name) {
  const { abi, bytecode, deployedBytecode } = built(name);
  // The constructor's arguments count as creation code; each takes a word at least.
  const creation = size(bytecode) + 32 * abi.find(({ type }) => type === "constructor").inputs.length;
  process.stderr.write(
    `${name}: ${size(deployedBytecode)} of ${codeLimit} bytes, creation ${creation} of ${creationLimit}\n`,
  );
  if (size(deployedBytecode) > codeLimit || creation > creationLimit) {
    process.stderr.write(`${name} is longer than a chain accepts\n`);
    process.exitCode = 1;
  }
}

// HubChannels answers part of its interface through a module, so its ABI is the interface's.
function write(name, facade) {
  const { abi, bytecode, deployedBytecode } = built(name);
  const artifact = {
    contractName: name,
    abi: facade ? [...abi.filter((item) => item.type === "constructor"), ...built(facade).abi] : abi,
    bytecode: bytecode.object,
    deployedBytecode: deployedBytecode.object,
  };
  fs.writeFileSync(path.join(target, `${name}.json`), JSON.stringify(artifact, null, 1) + "\n");
}

fs.mkdirSync(target, { recursive: true });
["HubChannels", "SideModule", "Token"].forEach(measure);
write("HubChannels", "IHubChannels");
write("Token");
