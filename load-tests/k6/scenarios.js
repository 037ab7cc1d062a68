// The scenarios that operations would run against the API: open model, so that a slow system is not spared.
//
//   ACCOUNT_API, ACCOUNT_API_KEY  where; from .local/dev.env
//   SCENARIO                      one of the names below
//   DURATION                      of a scenario that is one stage, for example 2m, instead of its own
//   FORM                          full (default), or short: seconds only, and nothing is judged by the clock
//
// At the end of each: how long it takes until nothing is under way any more, and a reconciliation, which must be clean.
import exec from "k6/execution";
import { check, fail, sleep } from "k6";
import { Counter, Gauge } from "k6/metrics";
import { api, issue, only, open, transfer } from "./api.js";
import { mixed } from "./mixed.js";

const SHORT = __ENV.FORM === "short";
const NAME = __ENV.SCENARIO;

// A load: how many a second, and for how long, in stages. `start` and `target` are requests a second.
const steady = (rate, full, accounts, step) => ({
  stages: [{ target: rate, duration: __ENV.DURATION || full }],
  start: rate,
  accounts,
  step,
});

const uniform = (data) => transfer(data, pick(data.accounts), pick(data.accounts));
const first = (data) => data.accounts[0];
// Without a copy of the list for each request, which would cost k6 more than all else.
const other = (data) => data.accounts[1 + Math.floor(Math.random() * (data.accounts.length - 1))];

const SCENARIOS = {
  // P4 of the speed bar: half within 5 ms, 99 % within 15 ms.
  steady: {
    ...steady(1000, "10m", 10000, uniform),
    thresholds: { "http_req_duration{kind:transfer}": ["p(50)<5", "p(99)<15"] },
  },
  ramp: {
    start: 100,
    stages: [
      { target: 4000, duration: "4m" },
      { target: 100, duration: "1m" },
    ],
    accounts: 10000,
    step: uniform,
    thresholds: { "http_req_duration{kind:transfer}": ["p(99)<60"] },
  },
  spike: {
    start: 200,
    stages: [
      { target: 200, duration: "30s" },
      { target: 4000, duration: "1s" },
      { target: 4000, duration: "20s" },
      { target: 200, duration: "1s" },
      { target: 200, duration: "60s" },
    ],
    accounts: 10000,
    step: uniform,
    thresholds: { "http_req_duration{kind:transfer}": ["p(99)<100"] },
  },
  soak: {
    ...steady(500, "2h", 100000, uniform),
    thresholds: { "http_req_duration{kind:transfer}": ["p(99)<20"] },
  },
  hot_source: {
    ...steady(1000, "3m", 10000, (data) => transfer(data, first(data), other(data))),
    thresholds: { "http_req_duration{kind:transfer}": ["p(99)<30"] },
  },
  hot_destination: {
    ...steady(1000, "3m", 10000, (data) => transfer(data, other(data), first(data))),
    thresholds: { "http_req_duration{kind:transfer}": ["p(99)<30"] },
  },
  // Everybody pays everybody among a few, so that every batch wants every channel.
  contention: {
    ...steady(1000, "3m", 16, uniform),
    thresholds: { "http_req_duration{kind:transfer}": ["p(99)<30"] },
  },
  mixed: {
    ...steady(300, "5m", 10000, mixed),
    thresholds: { "http_req_duration{kind:transfer}": ["p(99)<40"] },
  },
};

const chosen = SCENARIOS[NAME];
if (!chosen) {
  throw new Error(`SCENARIO must be one of ${Object.keys(SCENARIOS).join(", ")}, not ${NAME}`);
}

// A short run shows that the scenario works: the same shape, a fortieth of the rate.
const shorten = (stages) => stages.map(({ target }) => ({ target: Math.max(target / 40, 10), duration: "1500ms" }));

export const options = {
  discardResponseBodies: false,
  noConnectionReuse: false,
  setupTimeout: "10m",
  teardownTimeout: "10m",
  scenarios: {
    [NAME]: {
      executor: "ramping-arrival-rate",
      startRate: SHORT ? Math.max(Math.round(chosen.start / 40), 10) : chosen.start,
      timeUnit: "1s",
      preAllocatedVUs: SHORT ? 20 : 100,
      maxVUs: SHORT ? 200 : 1000,
      stages: (SHORT ? shorten(chosen.stages) : chosen.stages).map((stage) => ({ ...stage, target: Math.round(stage.target) })),
      gracefulStop: "30s",
    },
  },
  thresholds: {
    checks: ["rate==1"],
    unexpected: ["count==0"],
    done: ["count>0"],
    ...(SHORT ? {} : { dropped_iterations: ["count==0"], ...chosen.thresholds }),
  },
  summaryTrendStats: ["avg", "med", "p(95)", "p(99)", "max"],
};

export const unexpected = new Counter("unexpected");
export const done = new Counter("done");
const drain = new Gauge("drain_ms");
const reconciliation = new Gauge("reconciliation_ms");

function pick(list) {
  return list[Math.floor(Math.random() * list.length)];
}

export function setup() {
  const hubs = api("GET", "/v1/hubs").json("data");
  const hub = hubs.find((one) => one.funding_mode === "mint");
  if (!hub) {
    fail("no hub in mint mode");
  }
  const count = SHORT ? Math.min(chosen.accounts, 200) : chosen.accounts;
  const accounts = open(hub.id, count);
  const funds = 1000000000;
  const treasury = open(hub.id, 1)[0];
  issue(treasury, funds * count);
  for (let begin = 0; begin < count; begin += 1000) {
    const items = accounts
      .slice(begin, begin + 1000)
      .map((to) => ({ from: treasury, to, amount: String(funds) }));
    only(201, api("POST", "/v1/transfer-batches", { mode: "atomic", items }));
  }
  return { hub: hub.id, accounts };
}

export default function (data) {
  const response = chosen.step(data);
  const good = check(response, { answered: (r) => r.status >= 200 && r.status < 300 });
  if (good) {
    done.add(1);
    return;
  }
  unexpected.add(1);
  if (exec.scenario.iterationInTest < 100) {
    console.error(`${response.request.method} ${response.url}: ${response.status} ${response.error} ${response.body}`);
  }
}

// Every withdrawal has reached its end, so nothing waits for the chain.
function quiet(data) {
  const open = ["requested", "submitted", "confirming"];
  return open.every((status) => {
    const page = only(200, api("GET", `/v1/withdrawals?status=${status}&limit=1`)).json("data");
    return page.length === 0;
  });
}

export function teardown(data) {
  let begun = Date.now();
  while (!quiet(data)) {
    if (Date.now() - begun > 300000) {
      fail("withdrawals are still under way after 5 minutes");
    }
    sleep(0.2);
  }
  drain.add(Date.now() - begun);

  begun = Date.now();
  let run = only(202, api("POST", "/v1/reconciliation/runs", {})).json();
  while (run.status === "running") {
    sleep(0.2);
    run = only(200, api("GET", `/v1/reconciliation/runs/${run.id}`)).json();
  }
  reconciliation.add(Date.now() - begun);
  if (run.status !== "clean") {
    fail(`reconciliation: ${JSON.stringify(run)}`);
  }
}
