//! `#[preemptive::checked]` on methods, with every kind of `self`.

mod mock;

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;

use preemptive_macros::checked;

use mock::Check::Enter;
use mock::checks;

/// That a call has this result, and the check of one entry.
macro_rules! entered {
    ($call:expr, $result:expr) => {
        assert_eq!(checks(|| $call), ($result, vec![Enter(0)]))
    };
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Pair {
    a: Vec<u32>,
    b: u32,
}

impl Pair {
    #[checked(crate = "crate::mock")]
    fn by_value(self) -> u32 {
        self.b
    }

    #[checked(crate = "crate::mock")]
    fn by_mutable_value(mut self) -> Self {
        self.b += 1;
        self
    }

    #[checked(crate = "crate::mock")]
    fn by_reference(&self) -> &u32 {
        &self.b
    }

    #[checked(crate = "crate::mock")]
    fn by_named_reference<'a>(&'a self, _other: &str) -> &'a u32 {
        &self.b
    }

    #[checked(crate = "crate::mock")]
    fn by_mutable_reference(&mut self) -> &mut u32 {
        self.a.push(1);
        self.b += 1;
        &mut self.b
    }

    #[checked(crate = "crate::mock")]
    fn two_parts(&mut self) -> (&mut Vec<u32>, &mut u32) {
        let Self { a, b } = self;
        (a, b)
    }

    #[checked(crate = "crate::mock")]
    fn by_box(mut self: Box<Self>) -> Box<Self> {
        self.b += 1;
        self
    }

    #[checked(crate = "crate::mock")]
    fn by_rc(self: &Rc<Self>) -> Rc<Self> {
        Rc::clone(self)
    }

    #[checked(crate = "crate::mock")]
    fn by_pin(mut self: Pin<&mut Self>) -> u32 {
        self.b += 1;
        self.b
    }

    #[checked(crate = "crate::mock")]
    fn lists(&self) -> impl Iterator<Item = &u32> {
        self.a.iter()
    }

    #[checked(crate = "crate::mock")]
    fn made() -> Self {
        Self::default()
    }
}

#[test]
fn receivers() {
    let pair = Pair { a: vec![1], b: 1 };
    let more = Pair {
        b: 2,
        ..pair.clone()
    };
    entered!(pair.clone().by_value(), 1);
    entered!(pair.clone().by_mutable_value(), more.clone());
    entered!(pair.by_reference(), &1);
    entered!(pair.by_named_reference(""), &1);
    entered!(*pair.clone().by_mutable_reference(), 2);
    entered!(*pair.clone().two_parts().1, 1);
    entered!(*Box::new(pair.clone()).by_box(), more);
    entered!(Rc::new(pair.clone()).by_rc(), Rc::new(pair.clone()));
    entered!(pin!(pair.clone()).by_pin(), 2);
    entered!(pair.lists().count(), 1);
    entered!(Pair::made(), Pair::default());
}

/// Gives back what it has when it is dropped.
struct Permits<'a> {
    count: u32,
    free: &'a Cell<u32>,
}

impl Drop for Permits<'_> {
    fn drop(&mut self) {
        self.free.update(|free| free + self.count);
    }
}

#[checked(crate = "crate::mock")]
impl Permits<'_> {
    // No assignment in vain: the destructor reads it.
    #[deny(warnings, reason = "there is nothing to warn of")]
    fn forget(mut self) {
        self.count = 0;
    }
}

#[test]
fn what_a_destructor_reads() {
    let free = Cell::new(1);
    let permits = |count| Permits { count, free: &free };
    drop(permits(2));
    permits(4).forget();
    assert_eq!(free.get(), 3);
}
