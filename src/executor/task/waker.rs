//! A task's wakers: each is one counted reference, and nothing else.
//!
//! A waker that outlives its task keeps the allocation, but neither the future nor the output in it.

use super::header::{Header, Reference};
use super::state::WakeByValue;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::task::{RawWaker, RawWakerVTable, Waker};

/// A static, not a constant: `will_wake` compares its address.
static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// A waker that counts no reference: a poll needs one, and most polls clone none.
///
/// # Safety
///
/// - `task` came from `raw::allocate`.
/// - A reference outlasts the value.
#[inline]
pub(super) unsafe fn borrowed(task: NonNull<Header>) -> ManuallyDrop<Waker> {
    // SAFETY: the table keeps the contract of a waker for pointers to tasks, and the reference that the waker
    // stands for is never given back (`ManuallyDrop`) but lent by the caller.
    ManuallyDrop::new(unsafe { Waker::from_raw(raw(task)) })
}

fn raw(task: NonNull<Header>) -> RawWaker {
    RawWaker::new(task.as_ptr().cast::<()>().cast_const(), &VTABLE)
}

/// The reference that a waker stands for.
///
/// # Safety
///
/// - `data` is that of a waker made here, which is not used any more once the value is dropped.
unsafe fn reference(data: *const ()) -> Reference {
    // SAFETY: `raw` made it of a `NonNull`.
    let task = unsafe { NonNull::new_unchecked(data.cast_mut().cast()) };
    // SAFETY: the pointer is as good as the one given to `borrowed`, and the waker's reference is counted.
    unsafe { Reference::from_raw(task) }
}

/// # Safety
///
/// - `data` is that of a waker made here.
unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: the waker's own reference, which stays with it.
    let own = ManuallyDrop::new(unsafe { reference(data) });
    own.header().span.waker_op("waker.clone");
    raw(Reference::clone(&own).into_raw())
}

/// # Safety
///
/// - `data` is that of a waker made here, which is used up.
unsafe fn wake(data: *const ()) {
    // SAFETY: the waker's own reference; the waker is used up.
    let own = unsafe { reference(data) };
    own.header().span.waker_op("waker.wake");
    match own.state().wake_by_value() {
        WakeByValue::Nothing => {
            // Spent by the transition; `own` may not be looked at any more.
            own.into_raw();
        }
        WakeByValue::Dealloc => {
            let dealloc = own.header().vtable.dealloc;
            // SAFETY: the state says that no reference is left.
            unsafe { dealloc(own.into_raw()) }
        }
        WakeByValue::Schedule => {
            // SAFETY: the transition counted the reference that this takes; `own` lasts until after the call.
            unsafe { (own.header().vtable.schedule)(own.as_raw()) }
        }
    }
}

/// # Safety
///
/// - `data` is that of a waker made here.
unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the waker's own reference, which stays with it.
    let own = ManuallyDrop::new(unsafe { reference(data) });
    own.header().span.waker_op("waker.wake_by_ref");
    own.wake();
}

/// # Safety
///
/// - `data` is that of a waker made here, which is used up.
unsafe fn drop_waker(data: *const ()) {
    // SAFETY: the waker's own reference; the waker is used up.
    let own = unsafe { reference(data) };
    own.header().span.waker_op("waker.drop");
    drop(own);
}
