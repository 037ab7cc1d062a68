//! The summary says everything a person asks for, and every difference.

use acctl::import::Difference;
use acctl::model::Totals;
use acctl::proof::Shown;
use acctl::report::{Change, Payout, Reconciliation, Report, Verified};
use acctl::wire::{Break, Check};
use hub_core::{Address, Amount, ChannelId, Hash32};
use std::collections::BTreeMap;

fn inf(tokens: u128) -> Amount {
    Amount::new(tokens * 10u128.pow(18))
}

fn shown() -> Shown {
    Shown {
        account: Some("head-office".into()),
        channel: ChannelId([0xab; 32]),
        epoch: 0,
        version: 57,
        user_balance: inf(12),
        hub_balance: inf(88),
        withdrawn: inf(3),
        state_hash: Hash32([0xcd; 32]),
        batch_id: 99,
        leaf_index: 5,
        depth: 6,
        hub_signer: Address([1; 20]),
        user_signer: Address([2; 20]),
        chain_id: 31337,
        contract: Address([3; 20]),
        newest: true,
    }
}

fn report() -> Report {
    let change = |before, after| Change {
        before: inf(before),
        after: inf(after),
    };
    let payout = Payout {
        line: 251,
        amount: inf(1000),
        to: Address([4; 20]),
        status: "completed".into(),
        tx_hash: Some("0xfeed".into()),
        on_chain: change(5, 1005),
    };
    let check = |id: &str, compared| Check {
        id: id.into(),
        compared,
        breaks: 0,
    };
    let verified = Verified {
        balances: 42,
        entries: 1700,
        payouts: vec![payout],
        channels_restored: 8,
        supply: change(0, 1000),
        contract: change(70_000, 69_000),
        chain_transactions: 3,
        chain_transactions_per_100k: 300,
        proof: Some(shown()),
        reconciliation: Reconciliation {
            id: "rec_1".into(),
            status: "clean".into(),
            checks: vec![check("R1", 1000), check("R2", 234)],
            breaks: Vec::new(),
        },
    };
    let totals = Totals {
        operations: 1000,
        accounts: 42,
        issuances: 57,
        issued: inf(34_620),
        redemptions: 2,
        redeemed: inf(1251),
        transfers: 816,
        transferred: inf(27_520),
        withdrawals: 1,
        withdrawn: inf(1000),
        refusals: 29,
        held: inf(32_369),
    };
    Report {
        run_id: "day-1-vault".into(),
        file: "business-day.csv".into(),
        hub_id: "hub_1".into(),
        hub_mode: "vault",
        asset: "INF".into(),
        decimals: 18,
        totals,
        refused: BTreeMap::from([("INSUFFICIENT_FUNDS".to_owned(), 29)]),
        replayed: 17,
        retries: 4,
        import_ms: 1234,
        transfers_per_second: 1250,
        verified: Some(verified),
        differences: Vec::new(),
        elapsed_ms: 9876,
        agrees: true,
    }
}

#[test]
fn the_summary_has_everything_in_words() {
    let text = report().to_string();
    for words in [
        "vault mode",
        "day-1-vault",
        "1,000 in 1.2 s, 17 done by an earlier start, 4 requests sent again",
        "42 opened",
        "34,620.00 INF in 57 issuances",
        "1,251.00 INF in 2 redemptions",
        "27,520.00 INF in 816 transfers, 1,250 transfers/s",
        "29 as expected: INSUFFICIENT_FUNDS 29",
        "1,000.00 INF, completed, tx 0xfeed",
        "5.00 -> 1,005.00 INF",
        "1,700, each operation once per account",
        "8 channels restored",
        "ERC20 supply    0.00 -> 1,000.00 INF",
        "ERC20 contract  70,000.00 -> 69,000.00 INF",
        "3 chain transactions, 3.00 per 1,000 operations",
        "proof verified  head-office, version 57",
        "user 12.00 INF, hub 88.00 INF",
        "reconciliation  clean, 2 checks over 1,234 rows (rec_1)",
        "elapsed         9.8 s",
        "everything agrees with the file",
    ] {
        assert!(text.contains(words), "{words:?} is missing:\n{text}");
    }
    assert!(!text.contains("DIFFERS"));
}

#[test]
fn every_difference_and_every_break_is_shown() {
    let mut report = report();
    report.agrees = false;
    report.differences = vec![
        Difference {
            line: Some(17),
            what: "transfer a to b".into(),
            expected: "ok".into(),
            found: "CHANNEL_FROZEN: mend it".into(),
        },
        Difference {
            line: None,
            what: "balance of till-01".into(),
            expected: "5".into(),
            found: "6".into(),
        },
    ];
    if let Some(verified) = &mut report.verified {
        verified.reconciliation.breaks = vec![Break {
            check: "R1".into(),
            schema: "account".into(),
            table: "heads".into(),
            key: "0xab".into(),
            expected: "5".into(),
            found: "6".into(),
        }];
    }
    let text = report.to_string();
    for words in [
        "DIFFERS line 17: transfer a to b: expected ok, found CHANNEL_FROZEN: mend it",
        "DIFFERS balance of till-01: expected 5, found 6",
        "BREAK R1 account.heads 0xab: expected 5, found 6",
        "2 DIFFERENCES",
    ] {
        assert!(text.contains(words), "{words:?} is missing:\n{text}");
    }
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["differences"][0]["line"], 17);
    assert_eq!(json["totals"]["issued"], "34620000000000000000000");
    assert_eq!(json["verified"]["reconciliation"]["status"], "clean");
}
