//! So many short tasks, one after the other, that no worker ever lacks one.

use crate::stage::Stage;
use crate::work::{Kind, Work};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Units of a hog's work in one task: about 40 µs.
const UNITS: u64 = 4;

/// What the tasks of a flood share.
#[derive(Debug)]
pub struct Flood {
    stage: Arc<Stage>,
    units: AtomicU64,
    lock: Mutex<u64>,
}

impl Flood {
    /// Ends with the stage.
    pub fn new(stage: &Arc<Stage>) -> Arc<Flood> {
        Arc::new(Flood {
            stage: Arc::clone(stage),
            units: AtomicU64::new(0),
            lock: Mutex::new(0),
        })
    }

    /// How much work the flood has done, in the units of a hog that spins.
    pub fn units(&self) -> u64 {
        self.units.load(Ordering::Relaxed)
    }

    /// What one task does. False if there is to be no next one.
    pub fn wave(&self) -> bool {
        let mut work = Work::new(Kind::Spin, 0);
        for _ in 0..UNITS {
            work.unit(&self.lock);
        }
        self.units.fetch_add(UNITS, Ordering::Relaxed);
        !self.stage.stopped()
    }
}
