use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn redactor(secrets: &[&str]) -> Redactor {
    let secrets: Vec<SecretString> = secrets.iter().map(|secret| SecretString::from(*secret)).collect();
    Redactor::new(secrets.iter())
}

/// The line in pieces that are cut at these places, redacted and put together again.
fn in_pieces(redactor: &Redactor, line: &str, cuts: &[usize]) -> String {
    let mut lines = LineRedactor::default();
    let mut out = String::new();
    let mut rest = line;
    for cut in cuts {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(*cut));
        out.push_str(&lines.piece(redactor, piece.to_owned(), false));
        rest = after;
    }
    out + &lines.piece(redactor, rest.to_owned(), true)
}

#[test]
fn usual_forms_are_masked() {
    let redactor = redactor(&["p/ss \"wörd\"<1>"]);
    for line in [
        "p/ss \"wörd\"<1>",
        r#"p/ss \"wörd\"<1>"#,
        r#"p/ss \"w\u00f6rd\"<1>"#,
        r#"p\/ss \"w\u00f6rd\"<1>"#,
        r#"p/ss \"wörd\"\u003c1\u003e"#,
        r#"p/ss \\\"wörd\\\"<1>"#,
        "p%2Fss%20%22w%C3%B6rd%22%3C1%3E",
        "p%2fss+%22w%c3%b6rd%22%3c1%3e",
        "p/ss%20%22w%C3%B6rd%22%3C1%3E",
        "cC9zcyAid8O2cmQiPDE+",
        "cC9zcyAid8O2cmQiPDE-",
        "702f7373202277c3b67264223c313e",
    ] {
        assert_eq!(redactor.redact_str(&format!("a {line} b")), "a *** b", "{line}");
    }
}

#[test]
fn basic_authorization_is_masked() {
    let header = format!("Basic {}", STANDARD.encode("user:hunter2-and-more"));
    let redacted = redactor(&["hunter2-and-more"]).redact_str(&header).into_owned();
    assert!(redacted.starts_with("Basic dXNlcj") && redacted.contains(MASK), "{redacted}");
}

#[test]
fn lines_of_a_secret_are_secrets() {
    let redactor = redactor(&["-----BEGIN KEY-----\nMIIEvQIBADANBg\r\nshort\n-----END KEY-----\n"]);
    assert_eq!(redactor.redact_str("got MIIEvQIBADANBg here"), "got *** here");
    assert_eq!(redactor.redact_str("a short text"), "a short text");
}

#[test]
fn overlapping_secrets_leave_nothing() {
    let redactor = redactor(&["xpas", "password1234"]);
    assert_eq!(redactor.redact_str("xpassword1234!"), "***!");
    assert_eq!(in_pieces(&redactor, "a xpassword1234!", &[3, 2, 5]), "a ***!");
}

#[test]
fn short_secrets_and_no_secrets_change_nothing() {
    let line = "abc and the rest";
    assert!(matches!(redactor(&["abc", ""]).redact_str(line), Cow::Borrowed(_)));
    assert_eq!(in_pieces(&Redactor::none(), line, &[2]), line);
}

#[test]
fn documents_are_redacted_throughout() {
    let redactor = redactor(&["hunter2", "12345678"]);
    let document = json!({"hunter2": ["xhunter2y", 12_345_678, 99, null, {"a": "b"}]});
    assert_eq!(redactor.redact_json(document), json!({"***": ["x***y", "***", 99, null, {"a": "b"}]}));
}

#[test]
fn a_chain_of_secrets_over_many_pieces_is_one_mask() {
    let redactor = redactor(&["aaaaaa"]);
    assert_eq!(in_pieces(&redactor, &format!("x{}y", "a".repeat(100)), &[7; 14]), "x***y");
}

#[test]
fn debug_is_silent() {
    assert_eq!(format!("{:?}", redactor(&["hunter2"])), "Redactor([hidden])");
}

#[test]
fn many_long_secrets_still_have_their_plain_forms() {
    let long = "k3y".repeat(40_000);
    let redactor = redactor(&[&long, "hunter2"]);
    assert_eq!(redactor.redact_str(&format!("<{long}>")), "<***>");
    assert_eq!(redactor.redact_str(&STANDARD.encode("hunter2")), "***");
}

const QUOTE: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const QUOTE_PATH: AsciiSet = QUOTE.remove(b'/');

/// No `*`, for a mask beside one could look like a secret of asterisks.
const SECRET: &str = "[ -)+-~äß€\u{1F511}\t]{4,40}";

proptest! {
    #[test]
    fn no_form_survives_anywhere(
        secret in SECRET, before in "\\PC{0,40}", after in "\\PC{0,40}", cuts in proptest::collection::vec(0..30_usize, 0..6),
    ) {
        let redactor = redactor(&[&secret]);
        let json = json!(secret).to_string();
        let percent = utf8_percent_encode(&secret, NON_ALPHANUMERIC).to_string();
        let forms = [
            secret.clone(), json[1..json.len() - 1].to_owned(), percent,
            STANDARD.encode(&secret), URL_SAFE.encode(&secret),
            STANDARD_NO_PAD.encode(&secret), URL_SAFE_NO_PAD.encode(&secret),
        ];
        for form in forms {
            let line = format!("{before}{form}{after}");
            let redacted = redactor.redact_str(&line);
            prop_assert!(!redacted.contains(&form), "{form} in {redacted}");
            prop_assert_eq!(in_pieces(&redactor, &line, &cuts), redacted, "pieces");
        }
    }

    #[test]
    fn no_base64_of_a_text_with_the_secret_tells_it(
        secret in SECRET, before: Vec<u8>, after: Vec<u8>,
    ) {
        let redactor = redactor(&[&secret]);
        let all = [&before[..], secret.as_bytes(), &after].concat();
        let (first, last) = (before.len(), before.len() + secret.len());
        for engine in [&STANDARD, &URL_SAFE, &STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let text = engine.encode(&all);
            // The characters that the secret alone decides.
            let middle = &text[(first * 8).div_ceil(6)..last * 8 / 6];
            let redacted = redactor.redact_str(&text);
            prop_assert!(redacted.contains(MASK));
            prop_assert!(middle.len() < 6 || !redacted.contains(middle), "{middle} in {redacted}");
        }
    }

    #[test]
    fn encoded_as_usual_encoders_do(secret in SECRET, before in "[a-z]{0,9}", after in "[a-z]{0,9}") {
        let redactor = redactor(&[&secret]);
        let upper = utf8_percent_encode(&secret, &QUOTE).to_string();
        let path = utf8_percent_encode(&secret, &QUOTE_PATH).to_string();
        for form in [upper.replace("%20", "+"), path, upper] {
            let redacted = redactor.redact_str(&format!("{before}={form}&{after}")).into_owned();
            prop_assert_eq!(redacted, format!("{before}=***&{after}"));
        }
    }
}
