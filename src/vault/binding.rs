//! What a sealed value is bound to.

/// The place of a sealed value. It is authenticated, not stored: a value copied to another place does not open there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding<'a> {
    /// The table, like `jobs`.
    pub table: &'a str,
    /// The row's key in that table.
    pub row: &'a str,
    /// The value's name in that row, like `env/API_KEY`.
    pub name: &'a str,
}

impl Binding<'_> {
    /// The associated data of the encryption.
    pub(super) fn encode(&self) -> Vec<u8> {
        encode("haulier value v1", &[self.table.as_bytes(), self.row.as_bytes(), self.name.as_bytes()])
    }
}

/// A label and parts, each behind its length, so that no two lists of parts have the same bytes.
pub(super) fn encode(label: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(label.len() + parts.iter().map(|part| part.len() + 8).sum::<usize>() + 8);
    for part in [label.as_bytes()].iter().chain(parts) {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_places_look_alike() {
        let places = [("ab", "c", ""), ("a", "bc", ""), ("a", "b", "c"), ("", "abc", ""), ("abc", "", "")];
        let encoded: std::collections::HashSet<_> =
            places.iter().map(|&(table, row, name)| Binding { table, row, name }.encode()).collect();
        assert_eq!(encoded.len(), places.len());
    }
}
