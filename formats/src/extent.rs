//! From runs in a volume to bytes, and to runs in the image files: what all guests share.
//!
//! A guest describes a stream as [`Run`]s whose `At` offsets are positions in its volume (source 0).

use crate::bytes::{add, count, index};
use spelunk_tree::{Error, Place, ReadAt, Result, Run, push_run};

/// Translates runs in `volume` into runs in the image files below it.
pub(crate) fn map_runs(volume: &dyn ReadAt, in_volume: &[Run], out: &mut Vec<Run>) -> Result<()> {
    for run in in_volume {
        match run.place {
            Place::At { offset, .. } => volume.runs(offset, run.len, out)?,
            Place::Zero | Place::Opaque => push_run(out, *run),
        }
    }
    Ok(())
}

/// Fills `buffer` from the runs that cover it. An opaque run is an error: the guest decodes those itself.
pub(crate) fn read_runs(volume: &dyn ReadAt, in_volume: &[Run], buffer: &mut [u8]) -> Result<()> {
    let mut rest = buffer;
    for run in in_volume {
        let len = index(run.len)?.min(rest.len());
        let (part, behind) = rest.split_at_mut(len);
        match run.place {
            Place::At { offset, .. } => volume.read_at(offset, part)?,
            Place::Zero => part.fill(0),
            Place::Opaque => return Err(Error::internal("an opaque run where plain ones were expected")),
        }
        rest = behind;
    }
    if rest.is_empty() { Ok(()) } else { Err(Error::internal("runs that do not cover what was asked for")) }
}

/// How many of the `wanted` bytes from `offset` on lie before the end of a stream of `size` bytes.
pub(crate) fn clamp_len(size: u64, offset: u64, wanted: u64) -> u64 {
    size.saturating_sub(offset).min(wanted)
}

/// The part of `buffer` that lies before the end of a stream of `size` bytes.
pub(crate) fn clamp_buffer(size: u64, offset: u64, buffer: &mut [u8]) -> &mut [u8] {
    let len = clamp_len(size, offset, count(buffer.len()));
    let len = usize::try_from(len).unwrap_or(buffer.len());
    buffer.get_mut(..len).unwrap_or_default()
}

/// Cuts a sorted list of runs that covers a whole stream down to `len` bytes from `offset` on; past the
/// end of the list there are zeros (a hole at the end of a file).
pub(crate) fn cut_runs(stream: &[Run], offset: u64, len: u64, out: &mut Vec<Run>) -> Result<()> {
    let end = add(offset, len)?;
    let mut position: u64 = 0;
    for run in stream {
        if position >= end {
            return Ok(());
        }
        let run_end = add(position, run.len)?;
        let from = position.max(offset);
        let until = run_end.min(end);
        if from < until {
            let skipped = from.saturating_sub(position);
            let place = match run.place {
                Place::At { source, offset } => Place::At { source, offset: add(offset, skipped)? },
                other => other,
            };
            push_run(out, Run { len: until.saturating_sub(from), place });
        }
        position = run_end;
    }
    push_run(out, Run { len: end.saturating_sub(position.max(offset)), place: Place::Zero });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_runs_starts_and_ends_inside_runs_and_pads_with_zeros() {
        let stream = [
            Run { len: 10, place: Place::At { source: 0, offset: 100 } },
            Run { len: 10, place: Place::Zero },
            Run { len: 10, place: Place::At { source: 0, offset: 500 } },
        ];
        let mut out = Vec::new();

        cut_runs(&stream, 5, 30, &mut out).unwrap();

        assert_eq!(
            out,
            [
                Run { len: 5, place: Place::At { source: 0, offset: 105 } },
                Run { len: 10, place: Place::Zero },
                Run { len: 10, place: Place::At { source: 0, offset: 500 } },
                Run { len: 5, place: Place::Zero },
            ]
        );
    }
}
