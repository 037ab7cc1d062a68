// What a day brings: mostly transfers and reads, some money in and out.
import { api, transfer } from "./api.js";

const pick = (list) => list[Math.floor(Math.random() * list.length)];

function address() {
  const digits = Array.from({ length: 39 }, () => Math.floor(Math.random() * 16).toString(16));
  return `0x1${digits.join("")}`;
}

function list(data) {
  const at = Math.floor(Math.random() * (data.accounts.length - 20));
  const items = Array.from({ length: 20 }, (_, i) => ({
    from: data.accounts[at + (i % 10)],
    to: data.accounts[at + 10 + (i % 10)],
    amount: "3",
  }));
  return api("POST", "/v1/transfer-batches", { mode: "independent", items }, "transfer_batch");
}

const money = (path, kind) => (data) => api("POST", path, { account_id: pick(data.accounts), amount: "5" }, kind);

const withdraw = (data) =>
  api("POST", "/v1/withdrawals", { account_id: pick(data.accounts), amount: "7", to_address: address() }, "withdrawal");

function state(data) {
  const channel = api("GET", `/v1/accounts/${pick(data.accounts)}`, undefined, "account").json("channel.id");
  return api("GET", `/v1/channels/${channel}/states/latest/proof`, undefined, "proof");
}

// Shares in percent.
const STEPS = [
  [55, (data) => transfer(data, pick(data.accounts), pick(data.accounts))],
  [5, list],
  [5, money("/v1/issuances", "issuance")],
  [4, money("/v1/redemptions", "redemption")],
  [1, withdraw],
  [15, (data) => api("GET", `/v1/accounts/${pick(data.accounts)}/balances`, undefined, "balance")],
  [10, (data) => api("GET", `/v1/accounts/${pick(data.accounts)}/entries?limit=20`, undefined, "entries")],
  [5, state],
];

export function mixed(data) {
  let left = Math.random() * 100;
  const step = STEPS.find(([share]) => (left -= share) < 0) || STEPS[0];
  return step[1](data);
}
