// Every program, as both objects have them: included by their roots (`main.rs`, `streaming.rs`), which say whether events of
// single connections can be asked for.

mod connections;
mod defence;
mod drops;
mod forward;
mod frames;
mod globals;
mod headers;
mod icmp;
mod kread;
mod late;
mod life;
mod live;
mod maps;
mod pairing;
mod persistence;
mod phases;
mod record;
mod schedule;
mod slots;
mod stream;
mod sweep;
mod transition;

/// Which kernel helpers may be called: those that ask for a GPL-compatible licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// A program that could panic does not load: the verifier refuses the endless loop.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
