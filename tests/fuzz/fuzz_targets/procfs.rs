//! Text files of IPVS in `/proc/net`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    ipvs_observer_fuzz::targets::procfs(bytes);
});
