//! Time limits and retries.

use std::time::Duration;

use wheelbarrow_base::variable;

#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long a connection may stay silent.
    pub stall: Duration,
    /// The wait before the second attempt; it doubles with each.
    pub backoff: Duration,
    /// Attempts in a row that brought nothing, before the file is given up.
    pub attempts: u32,
}

impl Default for Patience {
    /// The timeout may be set by `UV_HTTP_TIMEOUT` or `PIP_DEFAULT_TIMEOUT`, in seconds.
    fn default() -> Self {
        let stall = variable(&["UV_HTTP_TIMEOUT", "UV_REQUEST_TIMEOUT", "PIP_DEFAULT_TIMEOUT"]);
        let stall = stall.and_then(|text| text.trim().parse().ok()).unwrap_or(30);
        Self { stall: Duration::from_secs(stall.max(1)), backoff: Duration::from_millis(500), attempts: 5 }
    }
}

impl Patience {
    /// Before the next attempt, after so many.
    pub(crate) fn pause_after(&self, attempts: u32) -> Duration {
        self.backoff * (1 << (attempts - 1).min(6))
    }
}
