//! libdeflate's decompressor, called directly because its safe wrapper does not return the number of consumed
//! bytes.

use std::ptr::NonNull;

use libdeflate_sys::{
    libdeflate_alloc_decompressor, libdeflate_decompressor, libdeflate_deflate_decompress_ex,
    libdeflate_free_decompressor, libdeflate_result_LIBDEFLATE_SUCCESS,
};

pub(super) struct Decompressor(NonNull<libdeflate_decompressor>);

// SAFETY: it is memory that only its owner uses, by `&mut`.
unsafe impl Send for Decompressor {}

impl Decompressor {
    pub(super) fn new() -> Self {
        // SAFETY: it asks for nothing but memory.
        let pointer = unsafe { libdeflate_alloc_decompressor() };
        Self(NonNull::new(pointer).unwrap_or_else(|| wheelbarrow_base::end_without_memory()))
    }

    /// Inflates what `raw` begins with into `out`: how many bytes were read, and how many written. None where that is not
    /// deflated, or does not fit.
    pub(super) fn inflate(&mut self, raw: &[u8], out: &mut [u8]) -> Option<(usize, usize)> {
        let (mut read, mut written) = (0, 0);
        // SAFETY: the pointers are those of slices, with their lengths, and of a decompressor that lives.
        let result = unsafe {
            libdeflate_deflate_decompress_ex(
                self.0.as_ptr(),
                raw.as_ptr().cast(),
                raw.len(),
                out.as_mut_ptr().cast(),
                out.len(),
                &mut read,
                &mut written,
            )
        };
        (result == libdeflate_result_LIBDEFLATE_SUCCESS).then_some((read, written))
    }
}

impl Drop for Decompressor {
    fn drop(&mut self) {
        // SAFETY: it came from `libdeflate_alloc_decompressor`, and is used no more.
        unsafe { libdeflate_free_decompressor(self.0.as_ptr()) };
    }
}
