//! Lets the system wake whoever waits for a socket's bytes only once so many have come.
//!
//! What is a frame of a megabyte to us comes in pieces, and being woken for each of them costs more than taking it. Linux wakes earlier all the same when the
//! stream ends or its window is full, and looks at what has come already when the mark changes, so a mark that is no higher than what is still to come
//! never lets anybody sleep too long. That holds since 5.9; before, and in other systems, of which nothing is known, the mark stays where it is.
//!
//! # Unsafe
//! `SO_RCVLOWAT` has no safe name in the crates that we use. The call is given the address and the size of an integer of ours that outlives it.
#![cfg_attr(target_os = "linux", expect(unsafe_code, reason = "setsockopt; see the module's text"))]

use std::io;
use std::os::fd::AsFd;

/// Sets the mark, in bytes; 1 is the system's own.
#[cfg(target_os = "linux")]
pub(super) fn set(socket: impl AsFd, bytes: usize) -> io::Result<()> {
    use std::ffi::c_int;
    use std::os::fd::AsRawFd;
    use std::sync::LazyLock;

    static HOLDS: LazyLock<bool> = LazyLock::new(|| is_known(&rustix::system::uname().release().to_string_lossy()));
    if !*HOLDS {
        return Ok(());
    }
    let mark = c_int::try_from(bytes).unwrap_or(c_int::MAX);
    let size = libc::socklen_t::try_from(size_of::<c_int>()).expect("an integer has few bytes");
    // SAFETY: the descriptor is borrowed for the call, and the pointer and the size are those of `mark`, of which the system makes a copy.
    let outcome = unsafe {
        let socket = socket.as_fd().as_raw_fd();
        libc::setsockopt(socket, libc::SOL_SOCKET, libc::SO_RCVLOWAT, (&raw const mark).cast(), size)
    };
    if outcome != 0 {
        return Err(io::Error::last_os_error());
    }
    if bytes > 1 {
        // A sender with a small buffer may be waiting for us to acknowledge what we have just read, which we would only do when we read again, or 40 ms later.
        socket2::SockRef::from(&socket).set_tcp_quickack(true)?;
    }
    Ok(())
}

/// Whether a release of Linux wakes as said above.
#[cfg(target_os = "linux")]
fn is_known(release: &str) -> bool {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= (5, 9)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn set(_: impl AsFd, _: usize) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::is_known;

    #[test]
    fn releases_are_told_apart() {
        for (release, known) in [
            ("6.1.0-18-amd64", true),
            ("5.9.0", true),
            ("5.15.167.4-microsoft-standard-WSL2", true),
            ("5.8.18", false),
            ("4.18.0-553.el8_10.x86_64", false),
            ("4.4.0", false),
            ("", false),
        ] {
            assert_eq!(is_known(release), known, "{release}");
        }
    }
}
