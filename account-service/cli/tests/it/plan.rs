//! A file is taken whole or refused with every mistake named; nothing in between.

use acctl::plan::{Action, Expect, HEADER, Mistakes, Plan, read};
use hub_core::Amount;

fn file(rows: &str) -> String {
    format!("{}\n{rows}", HEADER.join(","))
}

fn refused(text: impl AsRef<[u8]>) -> Mistakes {
    read(text.as_ref()).unwrap_err()
}

#[test]
fn the_example_of_the_format_is_read() {
    let text = file(
        "1,open,till-7,,,,ok\r\n2,open,supplier-3,,,,ok\r\n3,issue,till-7,,5000000,,ok\r\n\
         4,transfer,till-7,supplier-3,1250,,ok\r\n5,transfer,supplier-3,till-7,9999,,INSUFFICIENT_FUNDS\r\n\
         6,withdraw,supplier-3,,1000,0x000000000000000000000000000000000000dEaD,ok\r\n7,balance,supplier-3,,,,250",
    );
    let Plan { names, operations } = read(format!("\u{feff}{text}").as_bytes()).unwrap();
    assert_eq!(names, ["till-7", "supplier-3"]);
    assert_eq!(operations.len(), 7);
    let transfer = Action::Transfer {
        from: 0,
        to: 1,
        amount: Amount::new(1250),
    };
    assert_eq!((operations[3].line, operations[3].action), (4, transfer));
    assert_eq!(
        operations[4].expect,
        Expect::Refused("INSUFFICIENT_FUNDS".into())
    );
    assert_eq!(operations[6].expect, Expect::Balance(Amount::new(250)));
}

#[test]
fn each_mistake_is_named_with_its_row() {
    let open = "1,open,a,,,,ok\n2,open,b,,,,ok\n";
    let address = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
    let cases = [
        ("3,close,a,,,,ok", "no operation"),
        ("3,OPEN,c,,,,ok", "no operation"),
        ("3,issue,a,,,,ok", "no amount"),
        ("3,issue,a,,-1,,ok", "no amount"),
        ("3,issue,a,,+1,,ok", "no amount"),
        ("3,issue,a,,1.5,,ok", "no amount"),
        ("3,issue,a,,1e3,,ok", "no amount"),
        ("3,issue,a,,01,,ok", "no amount"),
        ("3,issue,a,,0x10,,ok", "no amount"),
        ("3,issue,a,,\" 1\",,ok", "no amount"),
        (
            "3,issue,a,,340282366920938463463374607431768211456,,ok",
            "larger than any balance",
        ),
        ("3,issue,z,,1,,ok", "unknown"),
        ("3,issue,,,1,,ok", "missing"),
        ("3,issue,a,b,1,,ok", "has no counterparty"),
        ("3,issue,a,,1,0x1,ok", "has no to"),
        ("3,transfer,a,z,1,,ok", "unknown"),
        ("3,transfer,a,,1,,ok", "counterparty is missing"),
        ("3,withdraw,a,,1,0x1,ok", "no address"),
        (
            "3,withdraw,a,,1,5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed,ok",
            "no address",
        ),
        (
            &format!("3,withdraw,a,,1,{},ok", address.replace("aA", "Aa")),
            "no address",
        ),
        ("3,open, c,,,,ok", "no account name"),
        ("3,open,,,,,ok", "no account name"),
        (
            &format!("3,open,{},,,,ok", "c".repeat(129)),
            "no account name",
        ),
        ("3,open,c,,5,,ok", "has no amount"),
        ("3,balance,a,,,,ok", "expect of a balance"),
        ("3,balance,a,,,,", "expect of a balance"),
        ("3,balance,a,,5,,5", "has no amount"),
        ("3,issue,a,,1,,", "neither ok nor a code"),
        ("3,issue,a,,1,,OK!", "neither ok nor a code"),
        ("3,issue,a,,1,,refused", "neither ok nor a code"),
        ("3,issue,a,,1,,5", "neither ok nor a code"),
        ("2,issue,a,,1,,ok", "used twice"),
        ("0,issue,a,,1,,ok", "no line number"),
        ("03,issue,a,,1,,ok", "no line number"),
        ("x,issue,a,,1,,ok", "no line number"),
        (",issue,a,,1,,ok", "no line number"),
        ("99999999999999999999,issue,a,,1,,ok", "no line number"),
        ("3,issue,a,,1,ok", "6 fields"),
        ("3,issue,a,,1,,ok,", "8 fields"),
        ("3,iss", "2 fields"),
        ("3,issue,a,,1,,\"ok", "quotation mark"),
        ("3,issue,a\tb,,1,,ok", "control character"),
        ("", "empty"),
    ];
    for (row, why) in cases {
        let Mistakes { listed, more } = refused(file(&format!("{open}{row}\n")));
        assert_eq!((listed.len(), more), (1, 0), "{row}");
        assert_eq!(listed[0].row, 4, "{row}");
        assert!(
            listed[0].message.contains(why),
            "{row}: {}",
            listed[0].message
        );
    }
}

#[test]
fn a_file_without_header_or_operations_is_refused() {
    for text in [
        "",
        "\u{feff}",
        "1,open,a,,,,ok\n",
        "line,op\n",
        "\n",
        "LINE,OP,ACCOUNT,COUNTERPARTY,AMOUNT,TO,EXPECT\n",
    ] {
        let text = refused(text).to_string();
        assert!(text.contains(&HEADER.join(",")), "{text}");
    }
    let text = refused(file("")).to_string();
    assert!(text.contains("no operations"), "{text}");
    assert!(read(&b"\xff\xfe"[..]).is_err());
}

#[test]
fn an_account_is_known_only_after_the_row_that_opens_it() {
    let mistakes = refused(file("1,issue,a,,1,,ok\n2,open,a,,,,ok\n3,issue,a,,1,,ok\n"));
    assert_eq!(mistakes.listed.len(), 1);
    assert_eq!(mistakes.listed[0].row, 2);
}

#[test]
fn many_mistakes_are_counted_and_the_first_are_shown() {
    let rows: String = (1..=200)
        .map(|line| format!("{line},pay,a,,,,ok\n"))
        .collect();
    let mistakes = refused(file(&rows));
    assert_eq!((mistakes.listed.len(), mistakes.more), (50, 150));
    let text = mistakes.to_string();
    assert!(
        text.contains("row 2:") && text.contains("150 more") && text.contains("nothing was sent")
    );
}
