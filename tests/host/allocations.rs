//! Nothing is allocated for an event of a stream: counted by an allocator that counts.

#![expect(
    unsafe_code,
    reason = "an allocator makes promises, which this one hands on from the system's"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    hint::black_box,
};

use ipvs_observer::{
    cli::StreamFormat, clock, model::id::Netns, output::stream::Lines, probe::Record,
};
use ipvs_observer_tests::bench::stream::{Kind, event};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: each call is the system's allocator's, with the arguments as they came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends has no count any more.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn an_event_becomes_a_line_without_an_allocation() {
    for format in [StreamFormat::Json, StreamFormat::Text] {
        let mut lines = Lines::new(format, clock::now(), Some(Netns(1)));
        let mut out = Vec::with_capacity(1 << 12);
        let records = [Kind::Closed, Kind::Opened].map(event);
        let before = ALLOCATIONS.get();
        for sequence in 0..1_000 {
            for record in &records {
                out.clear();
                let Some(Record::Event(event)) = Record::of(black_box(record)) else {
                    panic!("it is an event");
                };
                lines.event(&event, None, sequence, &mut out);
                assert!(out.ends_with(b"\n"));
            }
        }
        assert_eq!(ALLOCATIONS.get() - before, 0, "{format:?}");
        // The count counts.
        let before = ALLOCATIONS.get();
        drop(black_box(vec![0_u8; 10]));
        assert_eq!(ALLOCATIONS.get() - before, 1);
    }
}
