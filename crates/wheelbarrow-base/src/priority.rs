//! Low priority for work that nobody waits for.

/// Lowers the priority of this thread and its children for processors and disks. A user cannot undo this:
/// only root may raise a priority.
pub fn give_way() {
    /// IOPRIO_WHO_PROCESS of ioprio_set(2): this thread, by the number 0.
    const PROCESS: libc::c_int = 1;
    /// The lowest priority of the class "best effort". The class "idle" might never finish on a busy disk.
    const LOWEST: libc::c_int = (2 << 13) | 7;
    // SAFETY: system calls on numbers. One that is refused changes nothing, and nothing depends on it.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 5);
        libc::syscall(libc::SYS_ioprio_set, PROCESS, 0, LOWEST);
    }
}
