//! Files with holes, in GNU's format 1.0: before the data stands a map of where it belongs.

use spelunk_tree::{Attr, NodeId, Place, Run, Tree};
use std::ops::Range;

/// Smaller files are written with their holes.
const FILE_BYTES_MIN: u64 = 64 << 10;
/// Smaller holes are written as zeros.
const HOLE_BYTES_MIN: u64 = 4096;
/// Stretches of data in a map; what lies behind so many is written with its holes.
const SEGMENTS_MAX: usize = 64 << 10;
/// Questions to the tree for one file.
const QUESTIONS_MAX: usize = 1 << 18;
/// Bytes asked for at once.
const QUESTION_BYTES: u64 = 1 << 40;

/// Where a file has data; `None` when it has no holes worth a map, or they cannot be told.
pub fn segments(tree: &dyn Tree, node: NodeId, attr: &Attr) -> Option<Vec<Range<u64>>> {
    let size = attr.size;
    if size < FILE_BYTES_MIN || attr.allocated.is_some_and(|allocated| allocated >= size) {
        return None;
    }
    let mut segments: Vec<Range<u64>> = Vec::new();
    let mut runs: Vec<Run> = Vec::new();
    let (mut at, mut questions) = (0, 0);
    while at < size {
        questions += 1;
        if segments.len() >= SEGMENTS_MAX || questions > QUESTIONS_MAX {
            push(&mut segments, at..size);
            break;
        }
        runs.clear();
        tree.runs(node, None, at, (size - at).min(QUESTION_BYTES), &mut runs).ok()?;
        let before = at;
        for run in &runs {
            let end = at.saturating_add(run.len).min(size);
            if run.place != Place::Zero || end - at < HOLE_BYTES_MIN {
                push(&mut segments, at..end);
            }
            at = end;
        }
        if at == before {
            return None;
        }
    }
    let data: u64 = segments.iter().map(|part| part.end - part.start).sum();
    (data < size).then_some(segments)
}

/// Appends a stretch, joined with the last one where they touch.
fn push(segments: &mut Vec<Range<u64>>, part: Range<u64>) {
    match segments.last_mut() {
        _ if part.is_empty() => {}
        Some(last) if last.end == part.start => last.end = part.end,
        _ => segments.push(part),
    }
}

/// The map of a file of `size` bytes, in whole blocks.
pub fn map(segments: &[Range<u64>], size: u64) -> Vec<u8> {
    // A hole at the end is told by a stretch without data.
    let has_end = segments.last().is_some_and(|last| last.end == size);
    let end = (!has_end).then_some(size..size);
    let all: Vec<Range<u64>> = segments.iter().cloned().chain(end).collect();
    let mut map = format!("{}\n", all.len());
    for part in all {
        map.push_str(&format!("{}\n{}\n", part.start, part.end - part.start));
    }
    let mut map = map.into_bytes();
    let padding = super::header::padding(u64::try_from(map.len()).unwrap_or(0));
    map.resize(map.len() + padding, 0);
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Node, tree};

    fn of(size: u64, written: u64) -> Option<Vec<Range<u64>>> {
        let tree = tree([(1, Node::Large { size, written, unreadable_from: None })]);
        let node = NodeId::new(1).unwrap();
        segments(&tree, node, &tree.attr(node).unwrap())
    }

    #[test]
    fn holes_are_found_and_small_ones_are_not_worth_it() {
        let one = of(1 << 42, 10_000).map(|all| (all.len(), all[0].clone()));
        assert_eq!(one, Some((1, 0..10_000)));
        assert_eq!(of(1 << 20, 0), Some(vec![]));
        assert_eq!(of(1 << 20, 1 << 20), None);
        assert_eq!(of(1 << 20, (1 << 20) - 4095), None);
        assert_eq!(of(65_535, 0), None);
    }

    #[test]
    fn map_tells_where_the_file_ends() {
        let text = |map: Vec<u8>| String::from_utf8(map).unwrap().trim_end_matches('\0').to_owned();

        assert_eq!(text(map(&[0..5, 10..20], 20)), "2\n0\n5\n10\n10\n");
        assert_eq!(text(map(&[], 20)), "1\n20\n0\n");
        assert_eq!(map(&[0..5, 7..9], 20).len(), 512);
    }
}
