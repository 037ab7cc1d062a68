"""What a file of operations must lead to, computed from the file alone: python3 independent.py FILE

Prints one JSON object: what each account holds, the totals, the refusals by code, the payouts by address. Stops at the
first row whose expectation the rows before it do not bear out. Amounts are minor units, as text."""

import csv
import json
import sys
from collections import Counter

CAPACITY = 10**10 * 10**18  # the most an account can hold


def verdict(row, held, amount):
    """Why a row is refused, or ok; held is what each account has before it."""
    op, account, other = row["op"], row["account"], row["counterparty"]
    if op == "open":
        return "DUPLICATE_EXTERNAL_ID" if account in held else "ok"
    if op == "transfer" and account == other:
        return "SAME_ACCOUNT"
    if op == "withdraw" and not row["to"]:
        return "PAYOUT_ADDRESS_MISSING"
    if amount == 0:
        return "AMOUNT_ZERO"
    if op != "issue" and held[account] < amount:
        return "INSUFFICIENT_FUNDS"
    payee = {"issue": account, "transfer": other}.get(op)
    return "CAPACITY_EXCEEDED" if payee and held[payee] + amount > CAPACITY else "ok"


def compute(rows):
    held, sums, refused, payouts = {}, Counter(), Counter(), Counter()
    names = {"open": ("accounts", None), "issue": ("issuances", "issued"), "redeem": ("redemptions", "redeemed"),
             "transfer": ("transfers", "transferred"), "withdraw": ("withdrawals", "withdrawn")}
    for row in rows:
        sums["operations"] += 1
        op, account, amount = row["op"], row["account"], int(row["amount"] or 0)
        found = str(held[account]) if op == "balance" else verdict(row, held, amount)
        if found != row["expect"]:
            sys.exit(f"line {row['line']}: expects {row['expect']}, computed {found}")
        if op == "balance":
            continue
        if found != "ok":
            refused[found] += 1
            continue
        count, total = names[op]
        sums[count] += 1
        sums[total] += amount
        held[account] = held.get(account, 0) + (amount if op == "issue" else -amount)
        if op == "transfer":
            held[row["counterparty"]] += amount
        if op == "withdraw":
            payouts[row["to"].lower()] += amount
    text = lambda amounts: {name: str(amount) for name, amount in sorted(amounts.items())}
    totals = {name: sums[name] for pair in names.values() for name in pair if name} | {"operations": sums["operations"]}
    totals |= {total: str(sums[total]) for _, total in names.values() if total}
    totals |= {"refusals": sum(refused.values()), "held": str(sum(held.values()))}
    return {"accounts": text(held), "totals": totals, "refused": dict(sorted(refused.items())), "payouts": text(payouts)}


if __name__ == "__main__":
    with open(sys.argv[1], newline="", encoding="utf-8-sig") as file:
        print(json.dumps(compute(csv.DictReader(file)), indent=1))
