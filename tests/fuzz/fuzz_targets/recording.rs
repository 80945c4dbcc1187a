//! Recordings, with checksums that fit.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    ipvs_observer_fuzz::targets::recording(bytes);
});
