//! The rows of the bad-input catalogue, and what holds each of them. A row is held at every
//! endpoint, by a named test, or has nothing to be held against, with the reason.

use std::fs;
use std::path::Path;

/// What holds a row.
enum By {
    /// Cases at every endpoint that the row can be about.
    Endpoints,
    /// A test: its file, from this package's folder, and its name.
    Test(&'static str, &'static str),
    /// Nothing: why it can't be.
    Nothing(&'static str),
}

use By::{Endpoints, Nothing, Test};

const CATALOGUE: &str = "every_bad_input_has_its_code_and_changes_nothing";
const REFUSALS: &str = "a_refusal_says_why_changes_nothing_and_is_the_answer_for_ever";
const MONEY: &str = "tests/api/money.rs";
const RULES: &str = "tests/api/semantics.rs";
const WIRE: &str = "tests/api/transport.rs";

const ROWS: &[(u8, &str, &[By])] = &[
    (1, "amount in another form than digits", &[Endpoints]),
    (
        2,
        "amount of zero",
        &[Test(RULES, "nothing_is_moved_by_a_zero")],
    ),
    (
        3,
        "amount beyond every balance",
        &[Endpoints, Test(MONEY, REFUSALS)],
    ),
    (4, "an asset that there is not", &[Endpoints]),
    (
        5,
        "more than there is, and a hundred times at once",
        &[
            Test(MONEY, REFUSALS),
            Test(MONEY, "of_many_at_once_exactly_one_wins"),
            Test(
                "tests/api/caps.rs",
                "an_issuance_above_what_the_hub_ever_signs_is_refused_before_it_waits_for_funding",
            ),
        ],
    ),
    (
        6,
        "to oneself, from or to a hub",
        &[Test(MONEY, REFUSALS), Test(RULES, "a_hub_is_no_account")],
    ),
    (
        7,
        "unknown, and somebody else's",
        &[
            Endpoints,
            Test("tests/api/reads.rs", "another_owners_things_are_not_there"),
        ],
    ),
    (
        8,
        "frozen, closed, closing",
        &[
            Test(MONEY, REFUSALS),
            Test(
                "tests/api/accounts.rs",
                "a_frozen_account_is_read_and_an_account_with_money_is_not_closed",
            ),
            Test(RULES, "a_closing_channel_is_read_and_moves_nothing"),
        ],
    ),
    (
        9,
        "ids and addresses in another form",
        &[Endpoints, Test("tests/api/catalogue.rs", CATALOGUE)],
    ),
    (
        10,
        "texts of callers",
        &[
            Endpoints,
            Test(
                "tests/api/catalogue.rs",
                "harmless_text_comes_back_byte_for_byte",
            ),
        ],
    ),
    (
        11,
        "fields twice, unknown, not the caller's to set",
        &[Endpoints],
    ),
    (12, "what is no document", &[Endpoints]),
    (13, "media types and encodings", &[Endpoints]),
    (14, "methods", &[Endpoints]),
    (
        15,
        "paths",
        &[
            Endpoints,
            Test(
                WIRE,
                "doubtful_framing_is_refused_and_never_becomes_a_second_request",
            ),
        ],
    ),
    (
        16,
        "pages and cursors",
        &[
            Endpoints,
            Test(
                "tests/api/reads.rs",
                "a_list_comes_page_by_page_without_gap_or_double",
            ),
        ],
    ),
    (20, "no key", &[Endpoints]),
    (
        21,
        "nonce and time of a signed request",
        &[Nothing(
            "requests are not signed: the bearer key over the internal network is all there is",
        )],
    ),
    (
        22,
        "revoked, expired, unknown keys",
        &[
            Endpoints,
            Test(
                "tests/api/keys.rs",
                "only_a_key_that_is_valid_now_lets_anybody_in_and_all_others_are_told_the_same",
            ),
            Test(
                "tests/api/keys.rs",
                "the_command_line_makes_a_key_that_works_and_takes_it_back",
            ),
        ],
    ),
    (23, "scopes", &[Endpoints]),
    (24, "two keys, other schemes", &[Endpoints]),
    (30, "no idempotency key", &[Endpoints]),
    (
        31,
        "the same request again",
        &[
            Test(
                MONEY,
                "every_kind_of_order_is_done_once_and_answered_the_same_for_ever",
            ),
            Test(MONEY, "of_many_at_once_exactly_one_wins"),
            Test(
                MONEY,
                "another_replica_gives_the_same_answer_from_the_journal",
            ),
            Test(
                "tests/api/partitions.rs",
                "a_key_and_a_reference_are_used_once_whatever_partition_their_operation_lies_in",
            ),
        ],
    ),
    (
        32,
        "the same key for something else",
        &[
            Test(
                MONEY,
                "every_kind_of_order_is_done_once_and_answered_the_same_for_ever",
            ),
            Test(RULES, "a_key_is_its_owners_and_its_routes"),
        ],
    ),
    (33, "keys in another form", &[Endpoints]),
    (
        34,
        "the same twice in one batch",
        &[Test(RULES, "a_reference_twice_in_one_batch_is_used_once")],
    ),
    (
        35,
        "a key whose first request was no request",
        &[
            Test(MONEY, REFUSALS),
            Test(
                "tests/api/chain.rs",
                "what_the_hub_does_not_know_yet_is_answered_503_and_done_later_with_the_same_key",
            ),
        ],
    ),
    (
        40,
        "states that were forged",
        &[
            Nothing("no route takes a state or a signature from a caller"),
            Test(
                "../hub/tests/it/hostile.rs",
                "of_100_000_hostile_batches_none_creates_money_or_signs_a_version_twice",
            ),
        ],
    ),
    (
        41,
        "locks and preimages",
        &[Nothing("conditional transfers have no route yet")],
    ),
    (
        42,
        "payouts to nobody, twice, too much, of a closing channel",
        &[
            Test("tests/api/catalogue.rs", CATALOGUE),
            Test(RULES, "a_balance_is_paid_out_once"),
            Test(RULES, "a_closing_channel_is_read_and_moves_nothing"),
            Test(
                "tests/api/chain.rs",
                "a_deposit_is_credited_once_in_whatever_order_it_is_reported",
            ),
        ],
    ),
    (
        50,
        "bodies beyond the limit",
        &[
            Endpoints,
            Test(WIRE, "a_body_over_the_limit_is_refused_before_it_is_read"),
        ],
    ),
    (
        51,
        "slow senders",
        &[Test(WIRE, "slow_senders_are_cut_and_do_not_disturb_others")],
    ),
    (
        52,
        "heads beyond the limit",
        &[Test(
            WIRE,
            "doubtful_framing_is_refused_and_never_becomes_a_second_request",
        )],
    ),
    (
        53,
        "framing",
        &[
            Test(
                WIRE,
                "doubtful_framing_is_refused_and_never_becomes_a_second_request",
            ),
            Test(
                WIRE,
                "requests_in_a_row_on_one_connection_are_answered_in_a_row",
            ),
        ],
    ),
    (
        54,
        "headers of a proxy",
        &[Test(WIRE, "headers_of_a_proxy_change_nothing")],
    ),
    (
        55,
        "text that is code elsewhere",
        &[
            Test(
                "tests/api/matrix.rs",
                "hostile_text_is_data_wherever_it_stands",
            ),
            Test(
                "../deploy/tidy/tests/repository.rs",
                "statements_are_constants",
            ),
        ],
    ),
    (
        56,
        "callers that go, and ten times too many",
        &[
            Test(RULES, "a_caller_that_goes_leaves_a_whole_operation_or_none"),
            Test(
                "../load-tests/tests/e2e/overload.rs",
                "ten_times_the_capacity_loses_nothing_and_ends_with_the_load",
            ),
        ],
    ),
];

/// Rows that have cases at every endpoint.
pub fn at_every_endpoint() -> Vec<u8> {
    let held = |by: &[By]| by.iter().any(|one| matches!(one, Endpoints));
    let rows = ROWS.iter().filter(|(_, _, by)| held(by));
    rows.map(|(row, ..)| *row).collect()
}

#[test]
fn every_row_is_held_by_something_that_is_there() {
    let numbers: Vec<u8> = ROWS.iter().map(|(row, ..)| *row).collect();
    let wanted: Vec<u8> = [1..=16, 20..=24, 30..=35, 40..=42, 50..=56]
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(numbers, wanted);
    for (row, what, by) in ROWS {
        assert!(!by.is_empty(), "B-{row} {what}");
        for one in *by {
            match one {
                Endpoints => {}
                Nothing(why) => assert!(!why.is_empty()),
                Test(file, name) => {
                    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
                    let text = fs::read_to_string(&path).unwrap_or_default();
                    let there = text.contains(&format!("fn {name}"));
                    assert!(there, "B-{row} {what}: {file} has no test {name}");
                }
            }
        }
    }
}
