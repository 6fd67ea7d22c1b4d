//! Blocks of a file that fast commits put elsewhere, in front of the map that its inode has.

use super::Filesystem;
use super::inode::Inode;
use super::stream::Walk;
use spelunk_tree::Result;
use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges of blocks, none of which overlap: by their first block, the block behind them and where they lie in the
/// volume, if they hold anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct BlockChanges(BTreeMap<u64, (u64, Option<u64>)>);

impl BlockChanges {
    /// Puts `range` at block `stored` of the volume, or nowhere; what was said of these blocks before is forgotten.
    pub(super) fn set(&mut self, range: Range<u64>, stored: Option<u64>) {
        let behind = |first: u64, at: u64, stored: Option<u64>| {
            stored.map(|block| block.saturating_add(at.saturating_sub(first)))
        };
        if let Some((&first, &(end, old))) = self.0.range(..range.start).next_back()
            && end > range.start
        {
            self.0.insert(first, (range.start, old));
            if end > range.end {
                self.0.insert(range.end, (end, behind(first, range.end, old)));
            }
        }
        while let Some((&first, &(end, old))) = self.0.range(range.clone()).next() {
            self.0.remove(&first);
            if end > range.end {
                self.0.insert(range.end, (end, behind(first, range.end, old)));
            }
        }
        self.0.insert(range.start, (range.end, stored));
    }

    /// The range that holds `block`, or the first one behind it.
    fn at_or_behind(&self, block: u64) -> Option<(Range<u64>, Option<u64>)> {
        let before = self.0.range(..=block).next_back().filter(|(_, (end, _))| *end > block);
        let found = before.or_else(|| self.0.range(block..).next());
        found.map(|(&first, &(end, stored))| (first..end, stored))
    }
}

impl Filesystem {
    /// Collects where the blocks lie that `walk` wants: from `changes`, and between them from the inode's own map.
    pub(super) fn walk_changed(&self, inode: &Inode, changes: &BlockChanges, walk: &mut Walk) -> Result<()> {
        let end = walk.end;
        while !walk.is_over() {
            let change = changes.at_or_behind(walk.next).filter(|(range, _)| range.start < end);
            let Some((range, stored)) = change else { return self.walk_stored(inode, walk) };
            if range.start > walk.next {
                walk.end = range.start;
                let walked = self.walk_stored(inode, walk);
                let is_reached = walk.next >= walk.end;
                walk.end = end;
                walked?;
                if !is_reached {
                    break;
                }
            }
            match stored {
                Some(block) => {
                    let skipped = walk.next.saturating_sub(range.start);
                    let blocks = range.end.saturating_sub(range.start);
                    let offset = self.superblock.data_offset(block, blocks)?;
                    let skipped = skipped.saturating_mul(u64::from(self.superblock.block_bytes));
                    walk.stored(range.end, offset.saturating_add(skipped));
                }
                None => walk.hole(range.end),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_changes_cut_older_ones_and_keep_where_the_rest_lies() {
        let mut changes = BlockChanges::default();
        changes.set(10..20, Some(100));
        changes.set(30..40, None);

        changes.set(12..15, None);
        changes.set(18..33, Some(500));

        let all: Vec<_> = changes.0.into_iter().collect();
        let expected = [
            (10, (12, Some(100))),
            (12, (15, None)),
            (15, (18, Some(105))),
            (18, (33, Some(500))),
            (33, (40, None)),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn changes_of_all_that_was_changed_leave_nothing_of_it() {
        let mut changes = BlockChanges::default();
        changes.set(5..6, Some(1));
        changes.set(7..9, Some(2));

        changes.set(0..100, None);

        assert_eq!(changes.0.into_iter().collect::<Vec<_>>(), [(0, (100, None))]);
    }
}
