//! Arguments that name services and real servers.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    ipvs_observer_fuzz::targets::filters(bytes);
});
