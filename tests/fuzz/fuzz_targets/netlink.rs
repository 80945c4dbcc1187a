//! Datagrams of netlink.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    ipvs_observer_fuzz::targets::netlink(bytes);
});
