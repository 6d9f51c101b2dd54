//! Tasks that do little else than take, fill, check, exchange and return memory, whatever the global allocator is.
//!
//! Allocators keep what belongs to a thread in thread-locals, and put it away when the thread ends. Here a poll is preempted
//! in the middle of that, goes on with another worker, and its thread is an identity that later belongs to others.

use crate::crowd::{Crowd, LONG};
use crate::together::together;
use preemptive::runtime::worker_index;
use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Blocks that have not been freed.
static ALIVE: AtomicUsize = AtomicUsize::new(0);
/// What is counted is of one test at a time.
static ONE: Mutex<()> = Mutex::new(());

thread_local! {
    /// What an identity, or a thread, has kept; freed when it ends.
    static KEPT: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
}

/// A page of memory.
#[repr(align(4096))]
struct Page([u64; 512]);

/// Memory with a pattern in it.
struct Block {
    seed: u64,
    words: Vec<u64>,
    page: Option<Box<Page>>,
}

impl Block {
    fn new(seed: u64, size: usize) -> Block {
        ALIVE.fetch_add(1, Ordering::Relaxed);
        // Some come filled with zeros by the allocator.
        let mut words = vec![0; size];
        assert!(words.iter().all(|word| *word == 0));
        fill(&mut words, seed);
        let page = size.is_multiple_of(16).then(|| {
            let mut page = Box::new(Page([0; 512]));
            assert!(std::ptr::from_ref(&*page).addr().is_multiple_of(4096));
            fill(&mut page.0, !seed);
            page
        });
        Block { seed, words, page }
    }

    fn check(&self) {
        assert_pattern(&self.words, self.seed);
        if let Some(page) = &self.page {
            assert_pattern(&page.0, !self.seed);
        }
    }

    /// Makes it larger or smaller where it is, or elsewhere.
    fn resize(&mut self, size: usize) {
        self.words.truncate(size);
        self.words.shrink_to_fit();
        assert_pattern(&self.words, self.seed);
        self.words.resize(size, 0);
        fill(&mut self.words, self.seed);
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.check();
        ALIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

fn word(seed: u64, place: usize) -> u64 {
    seed.rotate_left(place as u32 % 64) ^ place as u64
}

fn fill(words: &mut [u64], seed: u64) {
    for (place, entry) in words.iter_mut().enumerate() {
        *entry = word(seed, place);
    }
}

#[track_caller]
fn assert_pattern(words: &[u64], seed: u64) {
    for (place, entry) in words.iter().enumerate() {
        assert_eq!(*entry, word(seed, place), "word {place} of {}", words.len());
    }
}

/// Numbers without a pattern: Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Mostly small, now and then large enough for a mapping of its own.
    fn size(&mut self) -> usize {
        let most = match self.next() % 64 {
            0 => 20_000,
            1..8 => 2_000,
            _ => 60,
        };
        1 + (self.next() % most) as usize
    }
}

/// Where blocks change hands.
type Shelf = Arc<Mutex<Vec<Block>>>;

fn on(shelf: &Shelf) -> std::sync::MutexGuard<'_, Vec<Block>> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One round: a hundred blocks made, changed, exchanged, kept and freed.
fn work(random: &mut Random, shelf: &Shelf) {
    let mut mine = Vec::new();
    for _ in 0..100 {
        let block = Block::new(random.next(), random.size());
        match random.next() % 8 {
            0 => on(shelf).push(block),
            1 => KEPT.with_borrow_mut(|kept| {
                // One that was kept by another poll under the same identity goes.
                if kept.len() > 20 {
                    kept.swap_remove(0);
                }
                kept.push(block);
            }),
            _ => mine.push(block),
        }
        let place = random.next() as usize % (mine.len() + 1);
        match random.next() % 4 {
            0 => drop((place < mine.len()).then(|| mine.swap_remove(place))),
            1 => {
                if let Some(block) = mine.get_mut(place) {
                    block.resize(random.size());
                }
            }
            2 => {
                // Somebody else's.
                let other = on(shelf).pop();
                drop(other);
            }
            _ => {}
        }
    }
    mine.iter().for_each(Block::check);
}

/// Waits until everything has been freed: threads that ended may be late to run their destructors.
fn assert_all_freed() {
    let start = Instant::now();
    while ALIVE.load(Ordering::Relaxed) > 0 {
        assert!(start.elapsed() < LONG, "{ALIVE:?} blocks were not freed");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Tasks and threads exchange memory, until tasks have often been moved from one worker to another in the middle.
pub(crate) fn blocks_stay_whole_in_polls_that_move() {
    const ROUNDS: usize = 10;
    const MOVES: usize = 20;
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let shelf = Shelf::default();
    let stop = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..2)
        .map(|number| {
            let (shelf, stop) = (shelf.clone(), stop.clone());
            std::thread::spawn(move || {
                let mut random = Random(0x1234_5678 + number);
                while stop.load(Ordering::Relaxed) == 0 {
                    work(&mut random, &shelf);
                }
            })
        })
        .collect();
    let moves = Arc::new(AtomicUsize::new(0));
    let exchanged = shelf.clone();
    Crowd::new().run(async move {
        together(4, |task| {
            let (shelf, moves) = (exchanged.clone(), moves.clone());
            async move {
                let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ task as u64);
                let mut round = 0;
                let start = Instant::now();
                while round < ROUNDS || moves.load(Ordering::Relaxed) < MOVES {
                    assert!(start.elapsed() < LONG, "polls do not move: {moves:?}");
                    for _ in 0..5 {
                        let worker = worker_index();
                        work(&mut random, &shelf);
                        let moved = worker
                            .zip(worker_index())
                            .is_some_and(|(one, other)| one != other);
                        moves.fetch_add(usize::from(moved), Ordering::Relaxed);
                        round += 1;
                    }
                    preemptive::task::yield_now().await;
                }
            }
        })
        .await;
    });
    stop.store(1, Ordering::Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
    on(&shelf).clear();
    assert_all_freed();
}

/// Runtimes come and go, with all their threads; what their tasks have made stays, and is freed by those of the next.
pub(crate) fn memory_outlives_the_threads_that_took_it() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let shelf = Shelf::default();
    for round in 0..6_u64 {
        let exchanged = shelf.clone();
        Crowd::new().run(async move {
            together(4, |task| {
                let shelf = exchanged.clone();
                async move {
                    let mut random = Random(round << 32 | (task as u64 + 1));
                    work(&mut random, &shelf);
                    // Made here, changed on a thread of the pool, freed here.
                    let mut block = Block::new(random.next(), random.size());
                    let size = random.size();
                    let (blocks, exchanged) = (random.next(), shelf.clone());
                    let blocking = preemptive::task::spawn_blocking(move || {
                        work(&mut Random(blocks | 1), &exchanged);
                        block.resize(size);
                        block
                    });
                    work(&mut random, &shelf);
                    drop(blocking.await.unwrap());
                }
            })
            .await;
            on(&exchanged).extend((1..20).map(|size| Block::new(round, size * 50)));
        });
        on(&shelf).iter().for_each(Block::check);
    }
    on(&shelf).clear();
    assert_all_freed();
}
