// Calls of the API.
import http from "k6/http";
import { fail } from "k6";

const BASE = __ENV.ACCOUNT_API;
const KEY = __ENV.ACCOUNT_API_KEY;

// Unlike any key of another run, and unlike any other of this one.
const RUN = `${Date.now().toString(36)}${Math.floor(Math.random() * 2 ** 40).toString(36)}`;
let made = 0;

// One request; what it is for becomes a label of its metrics.
export function api(method, path, body, kind = "other") {
  const headers = { Authorization: `Bearer ${KEY}` };
  if (method === "POST") {
    headers["Content-Type"] = "application/json";
    headers["Idempotency-Key"] = `k6-${RUN}-${__VU}-${(made += 1)}`;
  }
  const text = body === undefined ? null : JSON.stringify(body);
  return http.request(method, `${BASE}${path}`, text, { headers, tags: { kind, name: kind }, timeout: "60s" });
}

// The response, which must have this status.
export function only(status, response) {
  if (response.status !== status) {
    fail(`${response.request.method} ${response.url}: ${response.status} ${response.error} ${response.body}`);
  }
  return response;
}

// Opens accounts at a hub and returns their ids.
export function open(hub, count) {
  const ids = [];
  while (ids.length < count) {
    const items = Array.from({ length: Math.min(1000, count - ids.length) }, () => ({ hub_id: hub }));
    const opened = only(201, api("POST", "/v1/account-batches", { items })).json("results");
    ids.push(...opened.map((result) => result.account.id));
  }
  return ids;
}

// Credits an account.
export function issue(account, amount) {
  return only(201, api("POST", "/v1/issuances", { account_id: account, amount: String(amount) }));
}

// A transfer of one unit; an account that would pay itself pays its neighbour.
export function transfer(data, from, to) {
  if (from === to) {
    const at = data.accounts.indexOf(to);
    to = data.accounts[(at + 1) % data.accounts.length];
  }
  return api("POST", "/v1/transfers", { from, to, amount: "1" }, "transfer");
}
