//! Media types, by a name's extension: none that a browser would run.

use spelunk_tree::Name;

const UNKNOWN: &str = "application/octet-stream";

/// The type of a file of this name. Text is plain text, whatever its kind; images, sound and video are what they
/// are; of the rest only documents and archives that browsers hand to other programs are named.
pub(super) fn of(name: Option<&Name>) -> &'static str {
    let name = name.map(Name::as_bytes).unwrap_or_default();
    let extension = name.rsplit(|&byte| byte == b'.').next().filter(|part| part.len() < name.len());
    let extension = extension.and_then(|extension| std::str::from_utf8(extension).ok());
    let Some(guessed) = extension.and_then(|extension| mime_guess::from_ext(extension).first_raw()) else {
        return UNKNOWN;
    };
    let (kind, subtype) = guessed.split_once('/').unwrap_or_default();
    match kind {
        "text" => "text/plain",
        "image" if !subtype.contains("xml") => guessed,
        "audio" | "video" => guessed,
        "application" if is_inert(subtype) => guessed,
        _ => UNKNOWN,
    }
}

fn is_inert(subtype: &str) -> bool {
    const NAMED: &[&str] = &["pdf", "zip", "gzip", "msword", "rtf", "x-7z-compressed", "x-tar", "json"];
    const FAMILIES: &[&str] = &[
        "vnd.openxmlformats-officedocument.",
        "vnd.oasis.opendocument.",
        "vnd.ms-excel",
        "vnd.ms-powerpoint",
    ];
    NAMED.contains(&subtype) || FAMILIES.iter().any(|family| subtype.starts_with(family))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_browser_runs_is_called_so() {
        let of = |name: &str| of(Some(&Name::new(name.as_bytes()).unwrap()));

        assert_eq!(of("a.txt"), "text/plain");
        assert_eq!(of("a.JPG"), "image/jpeg");
        assert_eq!(of("a.docx"), "application/vnd.openxmlformats-officedocument.wordprocessingml.document");
        for name in ["a.html", "a.js", "a.css", "a.xml"] {
            assert!(["text/plain", UNKNOWN].contains(&of(name)), "{name}: {}", of(name));
        }
        for name in ["a.svg", "a.xhtml", "a.swf", "a.wasm", "a", "pdf", "a.", ".", "a.\u{fffd}"] {
            let Ok(name) = Name::new(name.as_bytes()) else { continue };
            assert_eq!(super::of(Some(&name)), UNKNOWN, "{name:?}");
        }
    }
}
