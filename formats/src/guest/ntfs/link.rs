//! Targets of symbolic links: from Windows' paths to those of the tree.
//!
//! - A relative path keeps its words, with `/` for `\`.
//! - A path from the volume's root on (`\dir\file`) is made relative to the link.
//! - A path with a drive letter (`C:\dir\file`, `\??\C:\dir\file`): an image does not say which letter its
//!   volume had. When the path exists in this volume, it is taken to mean that, as ntfs-3g does, and made
//!   relative to the link, with names as stored. Otherwise it is shown as `C:/dir/file`.
//! - Other volumes (`\??\Volume{...}\dir`) are shown as `Volume{...}/dir`, and servers as
//!   `//server/share/dir`.
//!
//! Nothing is followed: a link that the path leads over is not looked behind. Whether a target leaves the
//! tree (`..` past its root) is for those to judge who follow it.

use super::Ntfs;
use super::attribute::types;
use super::file_name::{FileName, Namespace};
use super::interix::{self, Special};
use super::node::Node;
use super::record::{ROOT, Reference};
use super::reparse::{Link, Reparse};
use super::standard_information::flags;
use spelunk_tree::{Error, ErrorKind, Result, limits, wtf8_from_utf16};

/// Names of a target that are looked up. Windows' usual limit of 260 letters has room for few more, and a
/// listing must not take long for links that lead nowhere.
const STEPS_MAX: usize = 64;

const BACKSLASH: u16 = 0x5C;

/// An absolute path, taken apart.
#[derive(Debug, PartialEq, Eq)]
enum Absolute<'a> {
    /// From this volume's root on.
    Here(&'a [u16]),
    /// With a drive letter; the whole text, and what is behind the letter.
    Drive(&'a [u16], &'a [u16]),
    /// Somewhere else.
    Elsewhere(&'a [u16]),
}

impl Ntfs {
    /// The text of the symbolic link `node`.
    ///
    /// # Errors
    /// `NotALink`; `Corrupt` when it has none.
    pub(super) fn link_text_of(&self, node: &Node) -> Result<Vec<u8>> {
        let not_a_link = || Error::new(ErrorKind::NotALink, "not a symbolic link");
        if let Some(reparse) = Reparse::read(&self.volume, node)? {
            return self.link_text(node, &reparse.link()?.ok_or_else(not_a_link)?);
        }
        let attributes = self.standard_information(node)?.map_or(0, |standard| standard.attributes);
        if !node.record.is_directory() && attributes & flags::SYSTEM != 0 {
            let is_hidden = attributes & flags::HIDDEN != 0;
            if let Some(Special::Link(target)) = interix::special(&self.volume, node, is_hidden)? {
                return Ok(target);
            }
        }
        Err(not_a_link())
    }

    /// The text of a link that leads from `node` to `link`.
    ///
    /// # Errors
    /// `Corrupt` when the link's own place cannot be found; `Limit` for a text that is too long.
    pub(super) fn link_text(&self, node: &Node, link: &Link) -> Result<Vec<u8>> {
        let text = match link {
            Link::Posix(text) => text.clone(),
            Link::Relative(path) => with_slashes(path),
            Link::Absolute(path) => self.absolute_text(node, path)?,
        };
        check_len(text)
    }

    fn absolute_text(&self, node: &Node, path: &[u16]) -> Result<Vec<u8>> {
        let (words, text) = match take_apart(path) {
            Absolute::Here(path) => (path, None),
            Absolute::Drive(text, path) => (path, Some(text)),
            Absolute::Elsewhere(text) => return Ok(elsewhere_text(text)),
        };
        let words: Vec<&[u16]> =
            words.split(|&unit| unit == BACKSLASH).filter(|word| !word.is_empty()).collect();
        let names = match (self.stored_names(&words), text) {
            (Some(names), _) => names,
            (None, Some(text)) => return Ok(with_slashes(text)),
            (None, None) => words.iter().map(|word| wtf8_from_utf16(word)).collect(),
        };
        let mut target = b"../".repeat(self.depth(node)?);
        target.extend(names.join(&b'/'));
        Ok(if target.is_empty() { b".".to_vec() } else { target })
    }

    /// The names of a path from the root on as they are stored; `None` when it does not exist, or is the
    /// root itself.
    fn stored_names(&self, words: &[&[u16]]) -> Option<Vec<Vec<u8>>> {
        if words.is_empty() || words.len() > STEPS_MAX {
            return None;
        }
        let mut names = Vec::with_capacity(words.len());
        let mut directory = Some(Reference { number: ROOT, sequence: 0 });
        for word in words {
            let Some(reference) = directory else {
                names.push(wtf8_from_utf16(word));
                continue;
            };
            let (name, found) = self.find_name(reference, word, true).ok()??;
            names.push(name.as_bytes().to_vec());
            let record = self.volume.mft.base(found).ok()?;
            let is_link = record.attributes().any(|a| a.is_ok_and(|a| a.kind == types::REPARSE_POINT));
            // What lies behind another link, or below a file, is not looked at.
            directory = Some(found).filter(|_| record.is_directory() && !is_link);
            if directory.is_none() && !is_link && names.len() < words.len() {
                return None;
            }
        }
        Some(names)
    }

    /// How many directories there are between the root and `node`.
    fn depth(&self, node: &Node) -> Result<usize> {
        let mut parent = self.parent(node)?;
        let mut depth = 0_usize;
        while parent.number != ROOT {
            depth = depth.saturating_add(1);
            if depth > limits::DEPTH_MAX {
                return Err(Error::corrupt("a file in a directory that the root does not lead to"));
            }
            let directory = Node::open(&self.volume, parent);
            let directory = directory
                .map_err(|error| Error::corrupt("a link in a directory that is not there").because(error))?;
            parent = self.parent(&directory)?;
        }
        Ok(depth)
    }

    /// The directory of a node's first name.
    fn parent(&self, node: &Node) -> Result<Reference> {
        let mut dos = None;
        for segment in node.segments(|kind, _| kind == types::FILE_NAME)? {
            let found = node.attribute(&self.volume.mft, &segment)?;
            let name = FileName::parse(found.get()?.resident()?)?;
            if name.namespace != Namespace::Dos {
                return Ok(name.parent);
            }
            dos = Some(name.parent);
        }
        dos.ok_or_else(|| Error::corrupt("a file without name"))
    }
}

/// The text of a link whose volume cannot be looked into: that of a file in a backup. A path from the volume's root on
/// is absolute then.
///
/// # Errors
/// `Limit` for a text that is too long.
pub(crate) fn text_alone(link: &Link) -> Result<Vec<u8>> {
    let text = match link {
        Link::Posix(text) => text.clone(),
        Link::Relative(path) => with_slashes(path),
        Link::Absolute(path) => match take_apart(path) {
            Absolute::Here(path) | Absolute::Drive(path, _) => with_slashes(path),
            Absolute::Elsewhere(path) => elsewhere_text(path),
        },
    };
    check_len(text)
}

fn check_len(text: Vec<u8>) -> Result<Vec<u8>> {
    if text.len() > limits::LINK_TARGET_BYTES_MAX {
        return Err(Error::limit(format!("a link's target of {} bytes", text.len())));
    }
    Ok(text)
}

/// Takes an absolute path apart. The prefixes of Windows' object namespace go.
fn take_apart(path: &[u16]) -> Absolute<'_> {
    let prefixes = [r"\??\", r"\\?\", r"\\.\", r"\DosDevices\"];
    let rest = prefixes.iter().find_map(|prefix| strip(path, prefix)).unwrap_or(path);
    if let [_, colon, BACKSLASH, behind @ ..] = rest
        && *colon == u16::from(b':')
    {
        return Absolute::Drive(rest, behind);
    }
    match path {
        [BACKSLASH, second, ..] if *second != BACKSLASH && rest.len() == path.len() => Absolute::Here(path),
        [BACKSLASH] => Absolute::Here(path),
        _ => Absolute::Elsewhere(rest),
    }
}

/// `path` without `prefix`, in any case.
fn strip<'a>(path: &'a [u16], prefix: &str) -> Option<&'a [u16]> {
    let (head, rest) = path.split_at_checked(prefix.len())?;
    let same =
        |(unit, byte): (&u16, u8)| u8::try_from(*unit).is_ok_and(|unit| unit.eq_ignore_ascii_case(&byte));
    head.iter().zip(prefix.bytes()).all(same).then_some(rest)
}

/// A path of Windows with `/` for `\`, and none at its end.
fn with_slashes(path: &[u16]) -> Vec<u8> {
    let mut text = wtf8_from_utf16(path);
    for byte in &mut text {
        if *byte == b'\\' {
            *byte = b'/';
        }
    }
    while text.len() > 1 && text.ends_with(b"/") && !text.ends_with(b":/") {
        text.pop();
    }
    text
}

/// The same of a path to elsewhere, where `UNC\server` stands for `\\server`.
fn elsewhere_text(path: &[u16]) -> Vec<u8> {
    match strip(path, "UNC\\") {
        Some(rest) => [b"//", &*with_slashes(rest)].concat(),
        None => with_slashes(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(text: &str) -> Vec<u16> {
        text.encode_utf16().collect()
    }

    #[test]
    fn absolute_paths_are_taken_apart_by_their_kind() {
        let (dir, drive) = (units(r"a\b"), units(r"C:\a\b"));
        for path in [r"\??\C:\a\b", r"\\?\C:\a\b", r"C:\a\b", r"\DosDevices\C:\a\b"] {
            assert_eq!(take_apart(&units(path)), Absolute::Drive(&drive, &dir), "{path}");
        }
        assert!(matches!(take_apart(&units(r"\a\b")), Absolute::Here(_)));
        for path in [r"\\server\a", r"\??\UNC\server\a", r"\??\Volume{1}\", r"\??\a"] {
            assert!(matches!(take_apart(&units(path)), Absolute::Elsewhere(_)), "{path}");
        }
    }

    #[test]
    fn text_elsewhere_keeps_its_words() {
        let text = |path: &str| match take_apart(&units(path)) {
            Absolute::Elsewhere(path) => String::from_utf8(elsewhere_text(path)).unwrap(),
            Absolute::Drive(path, _) => String::from_utf8(with_slashes(path)).unwrap(),
            Absolute::Here(_) => panic!("here"),
        };

        assert_eq!(text(r"\??\UNC\server\share\x"), "//server/share/x");
        assert_eq!(text(r"\??\\\server\share\x"), "//server/share/x");
        assert_eq!(text(r"\\server\share"), "//server/share");
        assert_eq!(text(r"\??\Volume{12-3}\"), "Volume{12-3}");
        assert_eq!(text(r"\??\C:\Users\Public"), "C:/Users/Public");
        assert_eq!(text(r"\??\C:\"), "C:/");
    }
}
