//! Code pages: what the bytes of names mean that DOS wrote.

use encoding_rs::{BIG5, EUC_KR, Encoding, GBK, SHIFT_JIS};
use oem_cp::code_table::{DECODING_TABLE_CP_MAP, DECODING_TABLE_CP437};
use oem_cp::code_table_type::TableType;
use std::fmt;
use std::str::FromStr;

/// Stands for a byte that means nothing, as in Linux.
const UNKNOWN: char = '?';

static CP437: TableType = TableType::Complete(&DECODING_TABLE_CP437);

/// Code pages of which a character may take two bytes.
const DOUBLE_BYTE: [(u16, &Encoding); 4] = [(932, SHIFT_JIS), (936, GBK), (949, EUC_KR), (950, BIG5)];

/// An OEM code page. A volume does not say its own; the default is 437, as in Linux.
#[derive(Clone, Copy, Debug)]
pub struct CodePage {
    number: u16,
    table: Table,
}

#[derive(Clone, Copy, Debug)]
enum Table {
    /// Characters of the bytes from 0x80 on.
    SingleByte(&'static TableType),
    DoubleByte(&'static Encoding),
}

impl Default for CodePage {
    fn default() -> CodePage {
        CodePage { number: 437, table: Table::SingleByte(&CP437) }
    }
}

impl PartialEq for CodePage {
    fn eq(&self, other: &CodePage) -> bool {
        self.number == other.number
    }
}

impl Eq for CodePage {}

impl FromStr for CodePage {
    type Err = String;

    fn from_str(text: &str) -> Result<CodePage, String> {
        let number = text.parse().ok();
        number.and_then(CodePage::numbered).ok_or_else(|| {
            let mut known: Vec<u16> = DECODING_TABLE_CP_MAP.keys().copied().collect();
            known.extend(DOUBLE_BYTE.map(|(number, _)| number));
            known.sort_unstable();
            let known: Vec<String> = known.iter().map(u16::to_string).collect();
            format!("no code page; there are {}", known.join(", "))
        })
    }
}

impl fmt::Display for CodePage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}

impl CodePage {
    /// The code page that Microsoft gave this number; `None` when it is not known here.
    pub fn numbered(number: u16) -> Option<CodePage> {
        let double_byte = DOUBLE_BYTE.iter().find(|(other, _)| *other == number);
        let table = match double_byte {
            Some((_, encoding)) => Table::DoubleByte(encoding),
            None => Table::SingleByte(DECODING_TABLE_CP_MAP.get(&number)?),
        };
        Some(CodePage { number, table })
    }

    /// Its number.
    pub fn number(self) -> u16 {
        self.number
    }

    /// The text that `bytes` are. Those below 0x80 are ASCII, control characters too.
    pub(crate) fn decode(self, bytes: &[u8]) -> String {
        match self.table {
            Table::SingleByte(table) => bytes.iter().map(|byte| character(table, *byte)).collect(),
            Table::DoubleByte(encoding) => {
                let (text, _) = encoding.decode_without_bom_handling(bytes);
                text.replace(char::REPLACEMENT_CHARACTER, "?")
            }
        }
    }

    /// As [`CodePage::decode`], in lower case where the code page has it.
    pub(crate) fn decode_lower_case(self, bytes: &[u8]) -> String {
        match self.table {
            Table::SingleByte(table) => bytes.iter().map(|byte| lower_case(table, *byte)).collect(),
            // As Linux: a character of two bytes has no case.
            Table::DoubleByte(_) => self.decode(bytes).to_ascii_lowercase(),
        }
    }
}

fn character(table: &TableType, byte: u8) -> char {
    let Some(at) = byte.checked_sub(0x80).map(usize::from) else { return char::from(byte) };
    let character = match table {
        TableType::Complete(table) => table.get(at).copied(),
        TableType::Incomplete(table) => table.get(at).copied().flatten(),
    };
    character.unwrap_or(UNKNOWN)
}

fn lower_case(table: &TableType, byte: u8) -> char {
    let upper = character(table, byte);
    let mut lower = upper.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(lower), None) if lower.is_ascii() || has(table, lower) => lower,
        _ => upper,
    }
}

fn has(table: &TableType, character: char) -> bool {
    match table {
        TableType::Complete(table) => table.contains(&character),
        TableType::Incomplete(table) => table.contains(&Some(character)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(number: u16) -> CodePage {
        CodePage::numbered(number).unwrap()
    }

    #[test]
    fn high_bytes_have_their_characters_and_lower_cases() {
        let default = CodePage::default();

        assert_eq!(default.number(), 437);
        assert_eq!(default.decode(b"\x8E\xE1\xE5\xFFA"), "Äßσ\u{A0}A");
        assert_eq!(default.decode_lower_case(b"\x8E\xE4\xE9\xE0A"), "äσΘαa");
        assert_eq!(page(850).decode(b"\x9D"), "Ø");
        assert_eq!(page(850).decode_lower_case(b"\x9D"), "ø");
        assert_eq!(page(866).decode_lower_case(b"\x8F\x90\x88"), "при");
    }

    #[test]
    fn characters_of_two_bytes_are_read_as_one() {
        assert_eq!(page(932).decode(b"\x93\xFA\x96\x7BA"), "日本A");
        // 0x5C, a backslash elsewhere, is the second half of one.
        assert_eq!(page(932).decode_lower_case(b"\x95\x5CA"), "表a");
    }

    #[test]
    fn what_means_nothing_is_a_question_mark() {
        assert_eq!(page(857).decode(b"A\xD5B"), "A?B");
        assert_eq!(page(949).decode(b"A\xFF"), "A?");
    }

    #[test]
    fn unknown_code_pages_are_refused_with_those_there_are() {
        assert!("1".parse::<CodePage>().unwrap_err().contains("437, "));
        assert!("cp437".parse::<CodePage>().is_err());
        assert_eq!("850".parse(), Ok(page(850)));
    }
}
