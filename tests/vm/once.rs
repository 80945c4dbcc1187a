//! What does not depend on the kernel's version, so that one kernel is enough.

mod stream;
