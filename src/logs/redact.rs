//! Takes secrets out of text.

mod forms;

use std::{borrow::Cow, collections::BTreeSet, fmt, ops::Range};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

/// What stands in place of a secret.
pub const MASK: &str = "***";

/// Shorter secrets are not masked, in bytes: they occur by chance in almost every line.
const MIN_SECRET: usize = 4;
/// Shorter lines of a secret that has several are not masked by themselves, in bytes.
const MIN_LINE: usize = 8;

/// How many bytes of forms one redactor may search for in full; the search takes some 15 bytes of memory for each. Of
/// secrets beyond that, the longest, only the plain and the JSON-escaped forms are searched for.
const MAX_FORMS: usize = 1024 * 1024;

/// Masks secrets in all the forms in which scripts usually print them.
///
/// The forms: as it is, JSON-escaped, URL-encoded, hexadecimal, and base64 in both alphabets, also in the middle of a
/// larger base64 text. Of a secret with several lines, each line counts as a secret too. All places where any form
/// occurs are masked, also where they overlap. Costs nothing when there are no secrets.
#[derive(Clone)]
pub struct Redactor(Mode);

#[derive(Clone)]
enum Mode {
    /// There are no secrets.
    Nothing,
    /// The forms to search for, and the length of the longest in bytes.
    Forms(AhoCorasick, usize),
    /// The search could not be built: nothing may pass.
    Everything,
}

impl Redactor {
    /// A redactor for these secrets. Secrets shorter than 4 bytes are left out.
    #[must_use]
    pub fn new<'a>(secrets: impl Iterator<Item = &'a SecretString>) -> Self {
        let mut parts = BTreeSet::new();
        for secret in secrets.map(ExposeSecret::expose_secret) {
            parts.extend([secret, secret.trim()].into_iter().filter(|part| part.len() >= MIN_SECRET));
            if secret.contains('\n') {
                parts.extend(secret.lines().map(str::trim).filter(|line| line.len() >= MIN_LINE));
            }
        }
        let mut parts: Vec<&str> = parts.into_iter().collect();
        parts.sort_by_key(|part| part.len());
        let mut forms = BTreeSet::new();
        let mut spent = 0;
        for part in parts {
            forms::add_plain(part, &mut forms);
            // Hexadecimal, base64 and URL-encoded forms together are up to 30 times as long as the secret.
            spent += 30 * part.len();
            if spent <= MAX_FORMS {
                forms::add_encoded(part, &mut forms);
            }
        }
        let Some(longest) = forms.iter().map(String::len).max() else { return Self::none() };
        let search = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            // The faster automaton takes a hundred times the memory.
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&forms);
        Self(search.map_or(Mode::Everything, |search| Mode::Forms(search, longest)))
    }

    /// A redactor without secrets.
    #[must_use]
    pub const fn none() -> Self {
        Self(Mode::Nothing)
    }

    /// The text without the secrets.
    #[must_use]
    pub fn redact_str<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let spans = self.spans(text, 0);
        if spans.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(mask(text, &spans, text.len(), false)) }
    }

    /// The document without the secrets in its texts and names. A number is masked if it is a secret by itself.
    #[must_use]
    pub fn redact_json(&self, value: Value) -> Value {
        if matches!(self.0, Mode::Nothing) {
            return value;
        }
        match value {
            Value::String(text) => Value::String(self.redact_str(&text).into_owned()),
            Value::Array(items) => items.into_iter().map(|item| self.redact_json(item)).collect(),
            Value::Object(map) => map
                .into_iter()
                .map(|(name, value)| (self.redact_str(&name).into_owned(), self.redact_json(value)))
                .collect(),
            Value::Number(number) if self.redact_str(&number.to_string()) == MASK => Value::String(MASK.to_owned()),
            other => other,
        }
    }

    /// Where the text is to be masked: disjoint, in order. The first `masked` bytes are to be in any case.
    fn spans(&self, text: &str, masked: usize) -> Vec<Range<usize>> {
        let mut spans: Vec<Range<usize>> = Vec::new();
        if masked > 0 {
            spans.push(0..masked);
        }
        let search = match &self.0 {
            Mode::Nothing => return spans,
            Mode::Everything => return std::iter::once(0..text.len()).filter(|all| !all.is_empty()).collect(),
            Mode::Forms(search, _) => search,
        };
        for found in search.find_overlapping_iter(text) {
            let mut span = found.range();
            // Matches come in the order of their ends, so only the last spans can touch this one.
            while let Some(last) = spans.pop_if(|last| last.end >= span.start) {
                span = last.start.min(span.start)..last.end.max(span.end);
            }
            spans.push(span);
        }
        spans
    }
}

// Without the forms, which are secrets.
impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Mode::Nothing => "Redactor(nothing)",
            Mode::Forms(..) => "Redactor([hidden])",
            Mode::Everything => "Redactor(everything)",
        })
    }
}

/// The text up to `to`, with a mask for each span that begins there. The first span has its mask already if `masked`.
fn mask(text: &str, spans: &[Range<usize>], to: usize, mut masked: bool) -> String {
    let mut out = String::with_capacity(to);
    let mut at = 0;
    for span in spans.iter().take_while(|span| span.start < to) {
        out.push_str(&text[at..span.start]);
        if !std::mem::take(&mut masked) {
            out.push_str(MASK);
        }
        at = span.end;
    }
    out.push_str(text.get(at..to).unwrap_or_default());
    out
}

/// Redacts one source's lines, which come in pieces, also where a secret lies over a cut: what might be the beginning of
/// a secret is held back until the next piece. Holds at most one piece and the longest form.
#[derive(Debug, Default)]
pub struct LineRedactor {
    held: String,
    /// This much of `held` is covered by a mask that was handed out already.
    masked: usize,
}

impl LineRedactor {
    /// The next piece of the line, redacted; `last` when the line ends with it.
    pub fn piece(&mut self, redactor: &Redactor, text: String, last: bool) -> String {
        let longest = match &redactor.0 {
            Mode::Nothing => return text,
            Mode::Forms(_, longest) => *longest,
            Mode::Everything => 1,
        };
        let mut whole = std::mem::take(&mut self.held);
        let masked = std::mem::take(&mut self.masked);
        whole.push_str(&text);
        let spans = redactor.spans(&whole, masked);
        if spans.is_empty() && last {
            return whole;
        }
        // Whatever secret begins before the cut is wholly visible now.
        let cut = if last { whole.len() } else { whole.floor_char_boundary((whole.len() + 1).saturating_sub(longest)) };
        let out = mask(&whole, &spans, cut, masked > 0);
        let over = spans.iter().find(|span| span.start < cut && span.end > cut);
        self.masked = if cut == 0 { masked } else { over.map_or(0, |span| span.end - cut) };
        self.held = whole.split_off(cut);
        out
    }
}

#[cfg(test)]
mod tests;
