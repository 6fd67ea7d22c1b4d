//! Runs: where the bytes of a file lie.

/// A stretch of bytes and where it lies one layer below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// Bytes in the stretch, never 0 in an answer.
    pub len: u64,
    /// Where they lie.
    pub place: Place,
}

/// Where the bytes of a [`Run`] lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Stored as they are.
    At {
        /// Index of the image file in its chain (0 is the image that was opened). Within a guest, where
        /// there is one volume below, always 0.
        source: u32,
        /// Byte offset in it.
        offset: u64,
    },
    /// All zero, stored nowhere.
    Zero,
    /// Someone must decode them: compressed, encrypted, resident in metadata.
    Opaque,
}

/// Appends `run`, merged with the last one where both are one stretch. Empty runs vanish.
pub fn push_run(runs: &mut Vec<Run>, run: Run) {
    if run.len == 0 {
        return;
    }
    if let Some(last) = runs.last_mut() {
        let continues = match (last.place, run.place) {
            (Place::Zero, Place::Zero) | (Place::Opaque, Place::Opaque) => true,
            (Place::At { source, offset }, Place::At { source: next_source, offset: next_offset }) => {
                source == next_source && offset.checked_add(last.len) == Some(next_offset)
            }
            _ => false,
        };
        if continues && let Some(len) = last.len.checked_add(run.len) {
            last.len = len;
            return;
        }
    }
    runs.push(run);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64, len: u64) -> Run {
        Run { len, place: Place::At { source: 0, offset } }
    }

    #[test]
    fn touching_runs_merge_and_others_stay() {
        let mut runs = Vec::new();
        let zero = Run { len: 5, place: Place::Zero };

        for run in [at(0, 10), at(10, 10), at(30, 1), zero, zero, at(31, 0)] {
            push_run(&mut runs, run);
        }

        assert_eq!(runs, [at(0, 20), at(30, 1), Run { len: 10, place: Place::Zero }]);
    }
}
