#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wheelbarrow_fuzz::manifest(data));
