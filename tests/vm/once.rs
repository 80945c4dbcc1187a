//! What does not depend on the kernel: files, signals, pipes, pages.

mod record;
