//! What is drawn on the terminal and redrawn, with messages scrolling by above it.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

/// Lines of what is drawn now; they are the last ones on the terminal.
static DRAWN: Mutex<usize> = Mutex::new(0);

/// Up to the first drawn line, and everything from there gone.
fn erase(out: &mut impl Write, lines: usize) -> io::Result<()> {
    if lines > 0 { write!(out, "\x1b[{lines}A\r\x1b[J") } else { Ok(()) }
}

/// Draws text, in whole lines that fit the terminal's width, in the place of what was drawn before.
pub(crate) fn draw(text: &str) -> io::Result<()> {
    let mut drawn = DRAWN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut out = io::stdout().lock();
    erase(&mut out, *drawn)?;
    out.write_all(text.as_bytes())?;
    out.flush()?;
    *drawn = text.matches('\n').count();
    Ok(())
}

/// What is drawn stays and is not drawn over any more.
pub(crate) fn leave() {
    *DRAWN.lock().unwrap_or_else(PoisonError::into_inner) = 0;
}

/// Writes messages to stderr, above what is drawn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Above;

impl Write for Above {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut drawn = DRAWN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = io::stdout().lock();
        erase(&mut out, *drawn)?;
        out.flush()?;
        *drawn = 0;
        io::stderr().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
