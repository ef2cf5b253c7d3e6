//! No names of threads for debuggers, which there are none for. The C library writes a name with `snprintf`, which nothing else here
//! uses: 9 kB of every artifact.

use std::ffi::{c_char, c_int};

/// As the C library has it, but that it does nothing.
#[unsafe(no_mangle)]
extern "C" fn pthread_setname_np(_thread: usize, _name: *const c_char) -> c_int {
    0
}
