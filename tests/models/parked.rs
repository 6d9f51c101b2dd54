//! A parked poll: its park commit, a wake at any moment, the trimmer, and a shutdown that leaves it to its lender. It goes
//! on once, and nobody else is at its stack by then.

use crate::atomic::{Weakness, weakened};
use crate::check;
use crate::stack::parked::{Notice, Parked, Taken, Trim, Waits};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use loom::thread;

/// What somebody forgets.
#[derive(Clone, Copy, PartialEq)]
enum Without {
    Nothing,
    /// The registers are saved after the commit.
    SavedRegisters,
    /// A commit that finds the notice taken goes on without asking whose the fiber is.
    TakeInCommit,
    /// A waker goes on with a fiber that is being trimmed.
    Trimmer,
    /// A trimmer does not look whether the fiber was woken meanwhile.
    EndTrim,
    /// A waker goes on with a fiber that its lender has.
    Lender,
}

struct Model {
    without: Without,
    notice: Notice,
    parked: Parked,
    /// Loom reports it if two are at these at once.
    registers: UnsafeCell<u32>,
    pages: UnsafeCell<u32>,
    given: AtomicBool,
    resumed: AtomicU32,
}

impl Model {
    fn new(without: Without) -> Arc<Model> {
        Arc::new(Model {
            without,
            notice: Notice::new(),
            parked: Parked::new(),
            registers: UnsafeCell::new(0),
            pages: UnsafeCell::new(0),
            given: AtomicBool::new(false),
            resumed: AtomicU32::new(0),
        })
    }

    /// The fiber goes on: all of it is its own.
    fn resume(&self) {
        // SAFETY: what the model is about: the fiber has one owner.
        self.registers.with_mut(|saved| unsafe {
            assert_eq!(*saved, 1, "registers that were not saved");
            *saved = 2;
        });
        // SAFETY: as above.
        self.pages.with_mut(|pages| unsafe { *pages += 1 });
        self.resumed.fetch_add(1, Ordering::Relaxed);
    }

    fn save(&self) {
        // SAFETY: as above.
        self.registers.with_mut(|saved| unsafe { *saved = 1 });
    }

    fn taken(&self, taken: Taken) {
        match taken {
            Taken::Mine => self.resume(),
            Taken::Trimmers if self.without == Without::Trimmer => self.resume(),
            Taken::Lenders if self.without == Without::Lender => self.resume(),
            // The lender waits for the word that has just changed.
            Taken::Trimmers | Taken::Lenders => {}
        }
    }

    /// The worker, on its system stack.
    fn park(&self) {
        if self.without != Without::SavedRegisters {
            self.save();
        }
        match self.parked.commit(&self.notice) {
            None => {}
            Some(_) if self.without == Without::TakeInCommit => self.resume(),
            Some(taken) => self.taken(taken),
        }
        if self.without == Without::SavedRegisters {
            self.save();
        }
    }

    fn wake(&self) {
        match self.notice.tell() {
            Waits::Fiber => self.taken(self.parked.take()),
            // The commit finds the notice taken.
            Waits::Nobody => {}
            Waits::Thread => unreachable!("no thread waits"),
        }
    }

    /// The supplier comes by, twice, as it must to trim anything.
    fn trim(&self) {
        for _ in 0..2 {
            let Trim::Now(trimming) = self.parked.begin_trim() else {
                continue;
            };
            // SAFETY: what the model is about: the fiber stays suspended meanwhile.
            self.registers.with(|saved| unsafe {
                assert_eq!(*saved, 1, "registers that were not saved");
            });
            // SAFETY: as above.
            self.pages.with_mut(|pages| unsafe { *pages += 1 });
            if !self.parked.end_trim(trimming) && self.without != Without::EndTrim {
                self.resume();
            }
        }
    }

    /// Shutdown, and the lender.
    fn give(&self) {
        if self.parked.give() {
            self.given.store(true, Ordering::Relaxed);
            while self.parked.given().is_some() {
                thread::yield_now();
            }
            self.resume();
        }
    }
}

fn spawn(model: &Arc<Model>, role: fn(&Model)) -> thread::JoinHandle<()> {
    let model = Arc::clone(model);
    thread::spawn(move || role(&model))
}

/// One poll parks and is woken, beside another role.
fn a_wake_beside(role: Option<fn(&Model)>, without: Without) {
    let model = Model::new(without);
    let roles = [Some(Model::wake as fn(&Model)), role];
    let threads: Vec<_> = roles
        .into_iter()
        .flatten()
        .map(|role| spawn(&model, role))
        .collect();
    model.park();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(
        model.resumed.load(Ordering::Relaxed),
        1,
        "how often it went on"
    );
}

#[test]
fn a_wake_at_any_moment_of_the_commit_is_one_resumption() {
    check(4, || a_wake_beside(None, Without::Nothing));
}

#[test]
fn a_wake_in_the_middle_of_a_trim_leaves_the_rest_to_the_trimmer() {
    check(3, || a_wake_beside(Some(Model::trim), Without::Nothing));
}

#[test]
fn a_poll_that_is_left_to_its_lender_goes_on_there() {
    check(3, || a_wake_beside(Some(Model::give), Without::Nothing));
}

#[test]
fn a_trimmer_and_a_shutdown_do_not_both_have_it() {
    check(2, || {
        let model = Model::new(Without::Nothing);
        model.save();
        assert!(model.parked.commit(&model.notice).is_none());
        // The trimmer has been here before.
        assert!(model.parked.begin_trim() == Trim::Again);
        let threads =
            [Model::wake as fn(&Model), Model::trim, Model::give].map(|role| spawn(&model, role));
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(model.resumed.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_trimmed_stack_is_trimmed_once_and_again_after_the_next_commit() {
    check(2, || {
        let parked = Parked::new();
        for _ in 0..2 {
            let notice = Notice::new();
            assert!(parked.begin_trim() == Trim::Nothing);
            assert!(parked.commit(&notice).is_none());
            assert!(parked.begin_trim() == Trim::Again);
            let Trim::Now(trimming) = parked.begin_trim() else {
                panic!("it has been parked since the last visit");
            };
            assert!(parked.end_trim(trimming));
            assert!(parked.begin_trim() == Trim::Nothing);
            assert!(notice.tell() == Waits::Fiber);
            assert!(parked.take() == Taken::Mine);
        }
    });
}

#[test]
fn a_thread_that_sleeps_on_the_notice_is_woken() {
    check(4, || {
        let model = Model::new(Without::Nothing);
        let waker = {
            let model = Arc::clone(&model);
            thread::spawn(move || {
                // SAFETY: as in `resume`: what the waker wrote is the sleeper's afterwards.
                model.pages.with_mut(|pages| unsafe { *pages = 7 });
                let _ = model.notice.tell();
            })
        };
        if model.notice.sleep() {
            while !model.notice.is_notified() {
                thread::yield_now();
            }
        }
        // SAFETY: as above.
        model.pages.with(|pages| unsafe { assert_eq!(*pages, 7) });
        waker.join().unwrap();
    });
}

#[test]
#[should_panic]
fn without_saved_registers_the_waker_would_go_on_with_old_ones() {
    check(3, || a_wake_beside(None, Without::SavedRegisters));
}

#[test]
#[should_panic(expected = "ausality violation")]
fn without_asking_the_commit_would_go_on_beside_the_trimmer() {
    check(3, || {
        a_wake_beside(Some(Model::trim), Without::TakeInCommit)
    });
}

#[test]
#[should_panic(expected = "ausality violation")]
fn a_waker_that_does_not_ask_would_go_on_beside_the_trimmer() {
    check(3, || a_wake_beside(Some(Model::trim), Without::Trimmer));
}

#[test]
#[should_panic(expected = "how often it went on")]
fn without_the_trimmers_last_look_the_wake_would_be_lost() {
    check(3, || a_wake_beside(Some(Model::trim), Without::EndTrim));
}

#[test]
#[should_panic]
fn a_waker_that_does_not_ask_would_go_on_beside_the_lender() {
    check(3, || a_wake_beside(Some(Model::give), Without::Lender));
}

#[test]
#[should_panic(expected = "ausality violation")]
fn without_release_the_waker_would_find_old_registers() {
    weakened(Weakness::Release, || {
        check(3, || a_wake_beside(None, Without::Nothing));
    });
}

#[test]
#[should_panic(expected = "ausality violation")]
fn without_acquire_the_waker_would_find_old_registers() {
    weakened(Weakness::Acquire, || {
        check(3, || a_wake_beside(None, Without::Nothing));
    });
}
