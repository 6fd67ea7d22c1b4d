//! How images name their parents.

/// Bytes of a parent's path that are kept, from its end: its base name and directory stand there.
const PATH_BYTES_MAX: usize = 1024;

/// Text in UTF-16, up to its NUL. What is not Unicode is replaced: the text only helps to find a file.
pub(crate) fn utf16_text(units: impl Iterator<Item = u16>) -> String {
    char::decode_utf16(units.take_while(|&unit| unit != 0))
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// The little-endian 16-bit units of `bytes`.
pub(crate) fn le_units(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.as_chunks::<2>().0.iter().map(|&pair| u16::from_le_bytes(pair))
}

/// The big-endian 16-bit units of `bytes`.
pub(crate) fn be_units(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.as_chunks::<2>().0.iter().map(|&pair| u16::from_be_bytes(pair))
}

/// The paths as [`spelunk_tree::ParentRef::paths`] wants them: `/` between components, without control
/// characters, no longer than needed, each once.
pub(crate) fn clean_paths<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    for text in texts {
        let path = clean_path(text);
        if !path.is_empty() && !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths
}

fn clean_path(text: &str) -> String {
    let path: String = text
        .chars()
        .filter(|character| !character.is_control())
        .map(|character| if character == '\\' { '/' } else { character })
        .collect();
    let start = path.len().saturating_sub(PATH_BYTES_MAX);
    let start = (start..=path.len()).find(|&start| path.is_char_boundary(start)).unwrap_or(path.len());
    path.get(start..).unwrap_or_default().to_owned()
}

/// The file's name of each path alone, of images that know no unique id: the file must lie beside them.
pub(crate) fn file_names<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    clean_paths(texts).iter().map(|path| base_name(path).to_owned()).filter(|name| !name.is_empty()).collect()
}

/// The last component of a path.
pub(crate) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised_bounded_and_listed_once() {
        let long = format!("C:\\{}\\disk.vhd", "ä".repeat(3000));

        let paths = clean_paths([".\\a\u{7}b.vhd", "./ab.vhd", "\0", &long]);

        assert_eq!(paths.len(), 2);
        assert_eq!(paths[0], "./ab.vhd");
        assert!(paths[1].len() <= PATH_BYTES_MAX);
        assert_eq!(base_name(&paths[1]), "disk.vhd");
    }

    #[test]
    fn file_names_have_no_directories_whatever_separates_them() {
        assert_eq!(file_names(["../a/b.img", "..\\a\\c.img", "d.img", "/", ""]), ["b.img", "c.img", "d.img"]);
    }

    #[test]
    fn utf16_ends_at_nul_and_survives_what_is_not_unicode() {
        let bytes = [0x61, 0, 0x3D, 0xD8, 0, 0, 0x62, 0];

        assert_eq!(utf16_text(le_units(&bytes)), "a\u{FFFD}");
        assert_eq!(utf16_text(be_units(&[0, 0x61, 0])), "a");
    }
}
