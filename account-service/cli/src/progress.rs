//! What a person sees while it runs: one line that changes, or now and then a new one.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Between two changes of the line on a terminal.
const ON_TERMINAL: Duration = Duration::from_millis(150);
/// Between two lines in a log.
const IN_LOG: Duration = Duration::from_secs(5);
/// Characters of the line: a narrow terminal would break a longer one.
const WIDTH: usize = 100;

/// Writes to standard error, so that standard output holds the result alone.
#[derive(Debug)]
pub struct Progress {
    terminal: bool,
    silent: bool,
    shown: Option<Instant>,
    open_line: bool,
}

impl Progress {
    /// For this process.
    pub fn new(silent: bool) -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            silent,
            shown: None,
            open_line: false,
        }
    }

    /// Shows how far it is, if that was not done just now.
    pub fn update(&mut self, text: impl FnOnce() -> String) {
        let pause = if self.terminal { ON_TERMINAL } else { IN_LOG };
        if self.silent || self.shown.is_some_and(|shown| shown.elapsed() < pause) {
            return;
        }
        self.shown = Some(Instant::now());
        if self.terminal {
            let line: String = text().chars().take(WIDTH).collect();
            eprint!("\r\x1b[K{line}");
            // The terminal is gone at worst, and then nobody looks.
            let _ = std::io::stderr().flush();
            self.open_line = true;
        } else {
            eprintln!("{}", text());
        }
    }

    /// Shows a step that stays.
    pub fn step(&mut self, text: &str) {
        self.clear();
        if !self.silent {
            eprintln!("{text}");
        }
    }

    /// Takes the changing line away.
    pub fn clear(&mut self) {
        if self.open_line {
            eprint!("\r\x1b[K");
            self.open_line = false;
        }
        self.shown = None;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
