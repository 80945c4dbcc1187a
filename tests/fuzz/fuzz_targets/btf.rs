//! BTF of a kernel and a module.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    ipvs_observer_fuzz::targets::btf(bytes);
});
