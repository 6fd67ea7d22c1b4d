//! How much is measured.

/// The size of a benchmark.
#[derive(Clone, Copy)]
pub struct Effort {
    /// Everything, or what matters most.
    pub is_full: bool,
    /// Rounds over all contenders; none to make the images only.
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
            "images" => Some(Effort { is_full: true, rounds: 0, random_reads: 0 }),
            _ => None,
        }
    }
}
