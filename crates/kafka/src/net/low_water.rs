//! Lets the system wake whoever waits for a socket's bytes only once so many have come.
//!
//! What is a frame of a megabyte to us comes in pieces, and being woken for each of them costs more than taking it. Linux wakes earlier all the same when the
//! stream ends or its window is full, and looks at what has come already when the mark changes, so a mark that is no higher than what is still to come
//! never lets anybody sleep too long. Nothing is known of other systems, so the mark stays where it is there.
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

#[cfg(not(target_os = "linux"))]
pub(super) fn set(_: impl AsFd, _: usize) -> io::Result<()> {
    Ok(())
}
