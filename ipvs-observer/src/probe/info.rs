//! What the kernel says of one of its BPF objects: the one call that aya does not pass on.

#![expect(
    unsafe_code,
    reason = "the kernel writes its answer through an address"
)]

use std::{io, os::fd::RawFd};

/// `BPF_OBJ_GET_INFO_BY_FD` of the uapi header `bpf.h`.
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;

/// The member `info` of `union bpf_attr`.
#[repr(C)]
struct Question {
    fd: u32,
    length: u32,
    address: u64,
}

/// Reads the object's structure into `words`, and says how many bytes of it this kernel knows.
///
/// It suppresses no probe, as reading a map would.
pub(super) fn read(fd: RawFd, words: &mut [u64]) -> io::Result<usize> {
    words.fill(0);
    let mut question = Question {
        fd: u32::try_from(fd).map_err(io::Error::other)?,
        length: u32::try_from(size_of_val(words)).map_err(io::Error::other)?,
        address: words.as_mut_ptr().addr() as u64,
    };
    // SAFETY: both structures live through the call, and the kernel writes `length` bytes to the address at most.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_OBJ_GET_INFO_BY_FD,
            &raw mut question,
            size_of::<Question>(),
        )
    };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(question.length as usize)
}
