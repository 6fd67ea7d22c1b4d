//! The options of a mount, as `mount -o` takes them.

use std::fmt;

/// How a tree is mounted. Every mount is `ro,nosuid,nodev`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Who may use the mount.
    pub access: Access,
    /// `default_permissions`: whether the kernel holds the mounter to the shown modes, too; other users
    /// always are.
    pub default_permissions: bool,
    /// `uid=`: the owner of everything.
    pub uid: Option<u32>,
    /// `gid=`: the group of everything.
    pub gid: Option<u32>,
    /// `umask=`: permissions that nobody has; replaces the guest's modes.
    pub mask: Option<u32>,
    /// `fmask=`: [`Options::mask`] of all but directories.
    pub file_mask: Option<u32>,
    /// `dmask=`: [`Options::mask`] of directories.
    pub directory_mask: Option<u32>,
    /// `streams=`: how named streams are shown.
    pub streams: Streams,
    /// `noexec`: whether programs may not be run from the mount.
    pub no_exec: bool,
    /// `noatime`, which changes nothing on a read-only mount but is shown in the mount table.
    pub no_atime: bool,
    /// `max_read=`: bytes of the largest read that the kernel may ask for.
    pub max_read_bytes: Option<u32>,
}

/// Who may use a mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Whoever mounts.
    #[default]
    Mounter,
    /// `allow_root`: root as well.
    Root,
    /// `allow_other`: every user, as the shown modes permit.
    Everyone,
}

/// How named streams are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Streams {
    /// `streams=xattr`: as extended attributes, where the tree gives them as such.
    #[default]
    Xattr,
    /// `streams=colon`: as files that can be opened as `name:stream`, but are not listed.
    Colon,
    /// `streams=none`: not at all.
    None,
}

/// Why an option was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionError {
    /// There is no such option.
    Unknown(String),
    /// The option wants another value; what it wants.
    Value(String, &'static str),
    /// The option asks for what a mount never gives; why.
    Refused(String, &'static str),
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OptionError::Unknown(option) => write!(f, "unknown mount option '{}'", option.escape_debug()),
            OptionError::Value(option, wanted) => {
                write!(f, "mount option '{}' wants {wanted}", option.escape_debug())
            }
            OptionError::Refused(option, reason) => {
                write!(f, "mount option '{}' is refused: {reason}", option.escape_debug())
            }
        }
    }
}

impl std::error::Error for OptionError {}

/// The least that the kernel takes for `max_read`.
const MAX_READ_BYTES_MIN: u32 = 4096;

impl Options {
    /// All options, for help texts.
    pub const NAMES: &str = "ro, allow_other, allow_root, default_permissions, uid=N, gid=N, umask=OCTAL, \
        fmask=OCTAL, dmask=OCTAL, streams=xattr|colon|none, exec, noexec, nosuid, nodev, noatime, max_read=N";

    /// Takes lists of options with commas between them; later ones win.
    ///
    /// # Errors
    /// For the first option that cannot be taken.
    pub fn parse<'a>(lists: impl IntoIterator<Item = &'a str>) -> Result<Options, OptionError> {
        let mut options = Options::default();
        for option in lists.into_iter().flat_map(|list| list.split(',')).filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some((name, value)) => options.take_value(option, name, value)?,
                None => options.take_flag(option)?,
            }
        }
        Ok(options)
    }

    fn take_flag(&mut self, option: &str) -> Result<(), OptionError> {
        match option {
            // What every mount is.
            "ro" | "nosuid" | "nodev" | "defaults" => {}
            // What makes no difference to a mount that never changes.
            "async" | "atime" | "relatime" | "norelatime" | "diratime" | "nodiratime" => {}
            "allow_other" => self.access = Access::Everyone,
            "allow_root" => self.access = Access::Root,
            "default_permissions" => self.default_permissions = true,
            "exec" => self.no_exec = false,
            "noexec" => self.no_exec = true,
            "noatime" => self.no_atime = true,
            "rw" => return Err(refused(option, "images are never written")),
            "suid" | "dev" => return Err(refused(option, "the image's content is not trusted")),
            "uid" | "gid" | "umask" | "fmask" | "dmask" | "streams" | "max_read" => {
                return Err(OptionError::Value(option.to_owned(), "a value after '='"));
            }
            _ => return Err(OptionError::Unknown(option.to_owned())),
        }
        Ok(())
    }

    fn take_value(&mut self, option: &str, name: &str, value: &str) -> Result<(), OptionError> {
        let wants = |wanted| OptionError::Value(option.to_owned(), wanted);
        // The largest number means "unchanged" to the kernel, and names no user.
        let id = || value.parse().ok().filter(|&id| id != u32::MAX).ok_or_else(|| wants("a numeric id"));
        let mask = || {
            let mask = u32::from_str_radix(value, 8).ok().filter(|&mask| mask <= 0o777);
            mask.ok_or_else(|| wants("an octal number from 0 to 777"))
        };
        match name {
            "uid" => self.uid = Some(id()?),
            "gid" => self.gid = Some(id()?),
            "umask" => self.mask = Some(mask()?),
            "fmask" => self.file_mask = Some(mask()?),
            "dmask" => self.directory_mask = Some(mask()?),
            "streams" => {
                self.streams = match value {
                    "xattr" => Streams::Xattr,
                    "colon" => Streams::Colon,
                    "none" => Streams::None,
                    _ => return Err(wants("xattr, colon or none")),
                }
            }
            "max_read" => {
                let bytes = value.parse().ok().filter(|&bytes| bytes >= MAX_READ_BYTES_MIN);
                self.max_read_bytes = Some(bytes.ok_or_else(|| wants("a number of bytes, at least 4096"))?);
            }
            _ => return Err(OptionError::Unknown(option.to_owned())),
        }
        Ok(())
    }
}

fn refused(option: &str, reason: &'static str) -> OptionError {
    OptionError::Refused(option.to_owned(), reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_taken_in_order_and_later_options_win() {
        let options = Options::parse(["ro,allow_other,uid=5,noexec", "uid=6,exec,,umask=022"]).unwrap();

        let expected =
            Options { access: Access::Everyone, uid: Some(6), mask: Some(0o22), ..Options::default() };
        assert_eq!(options, expected);
    }

    #[test]
    fn options_that_would_do_harm_are_refused() {
        for harmful in ["rw", "suid", "dev"] {
            let error = Options::parse([harmful]).unwrap_err();
            assert!(matches!(error, OptionError::Refused(..)), "{error}");
        }
    }

    #[test]
    fn unknown_options_and_bad_values_are_errors() {
        for unknown in ["frobnicate", "ro,color=red", "uid =5", "RO"] {
            assert!(matches!(Options::parse([unknown]), Err(OptionError::Unknown(_))), "{unknown}");
        }
        for bad in [
            "uid=",
            "uid=root",
            "gid=-1",
            "uid=4294967295",
            "umask=8",
            "umask=1777",
            "streams=x",
            "max_read=1",
        ] {
            assert!(matches!(Options::parse([bad]), Err(OptionError::Value(..))), "{bad}");
        }
        assert!(matches!(Options::parse(["uid"]), Err(OptionError::Value(..))));
    }

    #[test]
    fn every_named_option_is_known() {
        for name in Options::NAMES.split(", ") {
            let option =
                name.replace("OCTAL", "22").replace('N', "4096").replace("xattr|colon|none", "colon");
            assert!(Options::parse([option.as_str()]).is_ok(), "{option}");
        }
    }

    #[test]
    fn errors_do_not_carry_control_characters() {
        let error = Options::parse(["\u{1b}[2J"]).unwrap_err();

        assert!(!error.to_string().contains('\u{1b}'));
    }
}
