//! What time it is, for all that expires.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the seconds since 1970. Tests bring their own, so that they need not wait.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// This machine's.
    pub fn system() -> Clock {
        Clock(Arc::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        }))
    }

    /// One that a test sets.
    #[cfg(test)]
    pub fn set_by(now: Arc<std::sync::atomic::AtomicI64>) -> Clock {
        Clock(Arc::new(move || now.load(std::sync::atomic::Ordering::SeqCst)))
    }

    /// Seconds since 1970, UTC.
    pub fn now(&self) -> i64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

/// A time as the API writes it: RFC 3339, UTC.
pub fn text(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap_or_default().to_string()
}
