//! The program. `lib.rs` does the work.

use std::process::ExitCode;

use wheelbarrow_base::Memory;

/// The allocator of musl has one lock for all threads.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: Memory<mimalloc::MiMalloc> = Memory(mimalloc::MiMalloc);

#[cfg(not(target_env = "musl"))]
#[global_allocator]
static ALLOCATOR: Memory<std::alloc::System> = Memory(std::alloc::System);

fn main() -> ExitCode {
    wheelbarrow::main()
}
