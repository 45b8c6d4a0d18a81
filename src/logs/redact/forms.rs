//! The forms in which a secret may be printed.

use std::{collections::BTreeSet, fmt::Write as _};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};

/// Shorter pieces of a form are no evidence of the secret, in bytes.
const MIN_FORM: usize = 4;

/// As it is, and escaped as it stands in JSON.
pub(super) fn add_plain(secret: &str, forms: &mut BTreeSet<String>) {
    forms.insert(secret.to_owned());
    for once in json_escaped(secret) {
        // JSON within JSON, as when a logger prints a body as text.
        forms.extend(json_escaped(&once));
        forms.insert(once);
    }
}

/// URL-encoded, in base64 and in hexadecimal.
pub(super) fn add_encoded(secret: &str, forms: &mut BTreeSet<String>) {
    add_percent(secret, forms);
    add_base64(secret.as_bytes(), forms);
    let hex: String = secret.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    forms.insert(hex.to_uppercase());
    forms.insert(hex);
}

/// The escapes of the usual JSON writers: only what must be, also what is not ASCII (Python), also what HTML minds (Go),
/// also slashes (PHP).
fn json_escaped(text: &str) -> [String; 5] {
    let escape = |also: fn(char) -> bool, slash: &str| {
        let mut out = String::with_capacity(text.len() + 8);
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                '/' => out.push_str(slash),
                c if c < ' ' || also(c) => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                    let _ = write!(out, "\\u{unit:04x}");
                }),
                c => out.push(c),
            }
        }
        out
    };
    let not_ascii: fn(char) -> bool = |c| !c.is_ascii() || c == '\u{7f}';
    [
        escape(|_| false, "/"),
        escape(|c| !c.is_ascii(), "/"),
        escape(not_ascii, "/"),
        escape(|c| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}'), "/"),
        escape(not_ascii, "\\/"),
    ]
}

/// What different encoders leave as it is besides letters and digits: the strictest, RFC 3986, Python's `quote`, JavaScript's
/// `encodeURIComponent` and `encodeURI`, HTML forms.
const LEFT_AS_IS: [&str; 6] = ["", "-._~", "-._~/", "-._~!'()*", "-._~!'()*;/?:@&=+$,#", "-._*"];

fn add_percent(secret: &str, forms: &mut BTreeSet<String>) {
    for left in LEFT_AS_IS {
        for (space, upper) in [("%20", true), ("%20", false), ("+", true), ("+", false)] {
            let mut form = String::with_capacity(secret.len() * 3);
            for byte in secret.bytes() {
                let _ = match byte {
                    b' ' => form.write_str(space),
                    _ if byte.is_ascii_alphanumeric() || left.as_bytes().contains(&byte) => {
                        form.write_char(byte.into())
                    }
                    _ if upper => write!(form, "%{byte:02X}"),
                    _ => write!(form, "%{byte:02x}"),
                };
            }
            forms.insert(form);
        }
    }
}

/// The whole base64 text, and what it looks like inside a larger one: base64 writes 3 bytes as 4 characters, so there are
/// three ways in which a secret can lie, and the characters at its edges depend on its neighbours too. Those are not part
/// of the form; they tell less than 6 bits each.
fn add_base64(secret: &[u8], forms: &mut BTreeSet<String>) {
    for whole in [&STANDARD, &URL_SAFE, &STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        forms.insert(whole.encode(secret));
    }
    for before in 0..3 {
        let bytes = [&[0; 2][..before], secret].concat();
        // Bits of the neighbour in front reach into this many characters; and those behind into the last one, if any.
        let from = [0, 2, 3][before];
        let behind = usize::from(bytes.len() % 3 != 0);
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let text = engine.encode(&bytes);
            let middle = text.get(from..text.len() - behind).unwrap_or_default();
            if middle.len() >= MIN_FORM {
                forms.insert(middle.to_owned());
            }
        }
    }
}
