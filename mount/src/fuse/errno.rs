//! The errno that users of the mount see for each kind of error.

use fuser::Errno;
use spelunk_tree::{Error, ErrorKind};

/// The errno for `error`, which is logged with its causes: an errno alone says little.
pub(super) fn errno(operation: &'static str, ino: u64, error: &Error) -> Errno {
    tracing::debug!(operation, ino, ?error, "request failed");
    errno_of_kind(error.kind())
}

fn errno_of_kind(kind: ErrorKind) -> Errno {
    match kind {
        ErrorKind::NotFound => Errno::ENOENT,
        ErrorKind::NotADirectory => Errno::ENOTDIR,
        ErrorKind::IsADirectory => Errno::EISDIR,
        ErrorKind::NotALink => Errno::EINVAL,
        ErrorKind::Corrupt | ErrorKind::Storage => Errno::EIO,
        ErrorKind::Unsupported => Errno::EOPNOTSUPP,
        ErrorKind::Limit => Errno::EOVERFLOW,
        ErrorKind::WorkerLost | ErrorKind::Internal => Errno::EIO,
        ErrorKind::Denied => Errno::EACCES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_kind_becomes_enosys_which_would_switch_an_operation_off() {
        for kind in ErrorKind::ALL {
            assert_ne!(errno_of_kind(kind).code(), Errno::ENOSYS.code(), "{}", kind.phrase());
        }
    }

    #[test]
    fn only_what_is_not_there_becomes_enoent() {
        let missing: Vec<_> = ErrorKind::ALL
            .into_iter()
            .filter(|&kind| errno_of_kind(kind).code() == Errno::ENOENT.code())
            .collect();

        assert_eq!(missing, [ErrorKind::NotFound]);
    }
}
