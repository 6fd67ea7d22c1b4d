//! Feature flags: what a filesystem uses, and whether Spelunk can read it.

use spelunk_tree::{Error, Result};

/// The three words of features.
#[derive(Clone, Copy, Debug)]
pub(super) struct Features {
    /// Features that nobody needs to know.
    pub(super) compat: Compat,
    /// Features that every reader must know.
    pub(super) incompat: Incompat,
    /// Features that only writers must know.
    pub(super) ro_compat: RoCompat,
}

/// `s_feature_compat`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Compat(pub(super) u32);

/// `s_feature_incompat`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incompat(pub(super) u32);

/// `s_feature_ro_compat`.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoCompat(pub(super) u32);

impl Compat {
    pub(super) const HAS_JOURNAL: u32 = 0x4;
    pub(super) const DIR_INDEX: u32 = 0x20;
    pub(super) const SPARSE_SUPER2: u32 = 0x200;
    pub(super) const ORPHAN_FILE: u32 = 0x1000;

    pub(super) fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }
}

impl RoCompat {
    pub(super) const SPARSE_SUPER: u32 = 0x1;
    pub(super) const LARGE_FILE: u32 = 0x2;
    pub(super) const BTREE_DIR: u32 = 0x4;
    pub(super) const HUGE_FILE: u32 = 0x8;
    pub(super) const GDT_CSUM: u32 = 0x10;
    pub(super) const BIGALLOC: u32 = 0x200;
    pub(super) const METADATA_CSUM: u32 = 0x400;

    pub(super) fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }
}

impl Incompat {
    pub(super) const FILETYPE: u32 = 0x2;
    pub(super) const RECOVER: u32 = 0x4;
    pub(super) const META_BG: u32 = 0x10;
    pub(super) const BITS64: u32 = 0x80;
    pub(super) const EA_INODE: u32 = 0x400;
    pub(super) const CSUM_SEED: u32 = 0x2000;
    pub(super) const LARGEDIR: u32 = 0x4000;
    pub(super) const INLINE_DATA: u32 = 0x8000;
    pub(super) const CASEFOLD: u32 = 0x2_0000;

    /// Names of all known flags, and whether they are read.
    const NAMES: [(u32, &'static str, bool); 16] = [
        (0x1, "compression", false),
        (Incompat::FILETYPE, "filetype", true),
        (Incompat::RECOVER, "needs_recovery", true),
        (0x8, "journal_dev", false),
        (Incompat::META_BG, "meta_bg", true),
        (0x40, "extent", true),
        (Incompat::BITS64, "64bit", true),
        (0x100, "mmp", true),
        (0x200, "flex_bg", true),
        (Incompat::EA_INODE, "ea_inode", true),
        (0x1000, "dirdata", false),
        (Incompat::CSUM_SEED, "metadata_csum_seed", true),
        (Incompat::LARGEDIR, "large_dir", true),
        (Incompat::INLINE_DATA, "inline_data", true),
        (0x1_0000, "encrypt", true),
        (Incompat::CASEFOLD, "casefold", true),
    ];

    pub(super) fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }

    /// Refuses a filesystem with features that must be known to read it, and are not.
    ///
    /// # Errors
    /// `Unsupported`, naming them.
    pub(super) fn require_known(self) -> Result<()> {
        let mut unknown = Vec::new();
        for bit in 0..32 {
            let flag = self.0 & (1u32 << bit);
            if flag == 0 {
                continue;
            }
            match Incompat::NAMES.iter().find(|(known, ..)| *known == flag) {
                Some((_, _, true)) => {}
                Some((_, name, false)) => unknown.push((*name).to_owned()),
                None => unknown.push(format!("incompat bit {bit}")),
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        Err(Error::unsupported(format!("an ext filesystem with the features {}", unknown.join(", "))))
    }
}

impl Features {
    /// Whether features are used that ext3 does not have, by blkid's lists.
    pub(super) fn need_ext4(self) -> bool {
        let ext3_incompat = Incompat::FILETYPE | Incompat::RECOVER | Incompat::META_BG;
        let ext3_ro_compat = RoCompat::SPARSE_SUPER | RoCompat::LARGE_FILE | RoCompat::BTREE_DIR;
        self.incompat.0 & !ext3_incompat != 0 || self.ro_compat.0 & !ext3_ro_compat != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spelunk_tree::ErrorKind;

    #[test]
    fn unknown_features_are_refused_by_name() {
        let error = Incompat(0x2 | 0x1000 | 0x8000_0000).require_known().unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("dirdata, incompat bit 31"), "{error}");
    }

    #[test]
    fn known_features_are_taken() {
        assert!(Incompat(0x3E7D2 | 0x4).require_known().is_ok());
    }
}
