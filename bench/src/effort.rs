//! How much is measured.

/// The size of a benchmark.
#[derive(Clone, Copy)]
pub struct Effort {
    /// Everything, or what matters most.
    pub is_full: bool,
    /// Rounds over all contenders.
    pub rounds: usize,
    /// Random reads in each sample.
    pub random_reads: u64,
}

impl Effort {
    /// The effort with this name.
    pub fn named(name: &str) -> Option<Effort> {
        match name {
            "quick" => Some(Effort { is_full: false, rounds: 5, random_reads: 2_000 }),
            "full" => Some(Effort { is_full: true, rounds: 7, random_reads: 10_000 }),
            _ => None,
        }
    }
}
