//! Code page 437, in which short names and labels are taken to be.
//!
//! A volume does not say its code page; this is what Linux assumes, too.

/// Characters of the bytes from 0x80 on.
#[rustfmt::skip]
const HIGH: [char; 128] = [
    'Ç', 'ü', 'é', 'â', 'ä', 'à', 'å', 'ç', 'ê', 'ë', 'è', 'ï', 'î', 'ì', 'Ä', 'Å',
    'É', 'æ', 'Æ', 'ô', 'ö', 'ò', 'û', 'ù', 'ÿ', 'Ö', 'Ü', '¢', '£', '¥', '₧', 'ƒ',
    'á', 'í', 'ó', 'ú', 'ñ', 'Ñ', 'ª', 'º', '¿', '⌐', '¬', '½', '¼', '¡', '«', '»',
    '░', '▒', '▓', '│', '┤', '╡', '╢', '╖', '╕', '╣', '║', '╗', '╝', '╜', '╛', '┐',
    '└', '┴', '┬', '├', '─', '┼', '╞', '╟', '╚', '╔', '╩', '╦', '╠', '═', '╬', '╧',
    '╨', '╤', '╥', '╙', '╘', '╒', '╓', '╫', '╪', '┘', '┌', '█', '▄', '▌', '▐', '▀',
    'α', 'ß', 'Γ', 'π', 'Σ', 'σ', 'µ', 'τ', 'Φ', 'Θ', 'Ω', 'δ', '∞', 'φ', 'ε', '∩',
    '≡', '±', '≥', '≤', '⌠', '⌡', '÷', '≈', '°', '∙', '·', '√', 'ⁿ', '²', '■', '\u{A0}',
];

/// The character that `byte` stands for. Bytes below 0x80 are ASCII, control characters too.
pub fn character(byte: u8) -> char {
    let high = byte.checked_sub(0x80).and_then(|at| HIGH.get(usize::from(at)));
    high.copied().unwrap_or(char::from(byte))
}

/// As [`character`], in lower case where the code page has it.
pub fn lower_case(byte: u8) -> char {
    let upper = character(byte);
    let mut lower = upper.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(lower), None) if lower.is_ascii() || HIGH.contains(&lower) => lower,
        _ => upper,
    }
}

/// Text padded with spaces at its end.
pub fn padded_text(bytes: &[u8]) -> String {
    let text: String = bytes.iter().take_while(|byte| **byte != 0).map(|byte| character(*byte)).collect();
    text.trim_end_matches(' ').into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn high_bytes_have_their_characters_and_lower_cases() {
        assert_eq!([0x8E, 0xE1, 0xE5, 0xFF, 0x41].map(character), ['Ä', 'ß', 'σ', '\u{A0}', 'A']);
        assert_eq!([0x8E, 0xE4, 0xE9, 0xE0, 0x41].map(lower_case), ['ä', 'σ', 'Θ', 'α', 'a']);
    }
}
