//! Progress on standard error: a bar where the total is known, else a count. Only a terminal shows it.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::context::Context;
use crate::units::count;

/// A bar, or a count. It goes away when dropped.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// `total` is in any unit; without it the count alone is shown.
    pub(crate) fn new(context: &Context, what: &'static str, total: Option<u64>) -> Self {
        let target = if context.json() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(total, target);
        let template = match total {
            Some(_) => "{prefix} [{bar:40}] {percent:>3} %  {msg}  {eta} left",
            None => "{prefix} {spinner} {msg}  {elapsed}",
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("=> "));
        bar.set_prefix(what);
        Self { bar }
    }

    /// Shows how far it is, in the unit of the total, and how many entries that were.
    pub(crate) fn set(&self, position: u64, entries: u64) {
        self.bar.set_position(position);
        self.bar.set_message(count(entries));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
