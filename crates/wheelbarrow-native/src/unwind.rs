//! Stubs without unwinding and backtraces: this program aborts when it panics, and has no symbols.
//!
//! The standard library calls the unwinder for the frames of a backtrace, and contains a reader of debug
//! information to name them. With these functions, which report no frames, the linker drops both: 200 kB of
//! every artifact. A panic still prints its message and place.

use std::ffi::{c_int, c_void};

/// `_URC_END_OF_STACK` of the Itanium C++ ABI: exception handling.
const END_OF_STACK: c_int = 5;

#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_trace: *const c_void, _argument: *mut c_void) -> c_int {
    END_OF_STACK
}

/// The others are asked about a frame, of which there is none.
macro_rules! without_frames {
    ($($name:ident)*) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name() -> *mut c_void {
                std::process::abort()
            }
        )*
    };
}

without_frames! {
    _Unwind_DeleteException
    _Unwind_FindEnclosingFunction
    _Unwind_GetCFA
    _Unwind_GetDataRelBase
    _Unwind_GetIP
    _Unwind_GetIPInfo
    _Unwind_GetLanguageSpecificData
    _Unwind_GetRegionStart
    _Unwind_GetTextRelBase
    _Unwind_RaiseException
    _Unwind_Resume
    _Unwind_SetGR
    _Unwind_SetIP
}
