//! Values that belong to a task, and are where its code looks for them without being passed on.
//!
//! The value is in the future that [`LocalKey::scope`] makes. While that future is polled or dropped, it trades places with
//! the content of a thread-local, which is empty otherwise; scopes nest, because what was there comes back.
//!
//! # Why preemption does not matter
//!
//! A thread-local is the identity's (HACKING.md), and a poll keeps its identity from its start to its end, on however many
//! kernel threads it runs and however often it is stopped in between. No other poll runs under that identity before this
//! one has ended (R3 in docs/design.md). So between the two trades nobody else can look into the thread-local, just as if
//! the poll had a thread of its own. A poll that ends by a panic trades back while it unwinds. One that is lost, because its
//! stack has overflowed, does not; but neither is its identity used again.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::marker::PhantomPinned;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;

/// Declares keys of values that belong to a task: statics of the type [`LocalKey`](crate::task::LocalKey).
///
/// Any number of declarations, as of statics without a value; attributes and visibility stay.
///
/// ```
/// preemptive::task_local! {
///     /// Whose request the task works on.
///     pub static USER: String;
///     static DEPTH: u32;
/// }
///
/// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
/// let task = preemptive::spawn(USER.scope("ada".to_owned(), async {
///     DEPTH.scope(1, async { USER.with(|user| format!("{user}, {}", DEPTH.get())) }).await
/// }));
/// assert_eq!(task.await.unwrap(), "ada, 1");
/// assert!(USER.try_get().is_err());
/// # });
/// ```
#[macro_export]
macro_rules! task_local {
    ($($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty);* $(;)?) => {
        $(
            $(#[$attribute])*
            $visibility static $name: $crate::task::LocalKey<$type> = {
                ::std::thread_local! {
                    static CURRENT: ::std::cell::RefCell<::std::option::Option<$type>> =
                        const { ::std::cell::RefCell::new(::std::option::Option::None) };
                }
                $crate::task::LocalKey::__new(CURRENT)
            };
        )*
    };
}

/// The key of a value that belongs to a task. Made by [`task_local!`](crate::task_local).
///
/// There is a value only inside of [`scope`](Self::scope) and [`sync_scope`](Self::sync_scope); tasks that are spawned
/// there do not inherit it.
///
/// ```
/// preemptive::task_local! {
///     static NUMBER: u32;
/// }
///
/// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
/// NUMBER.scope(1, async {
///     NUMBER.scope(2, async { assert_eq!(NUMBER.get(), 2) }).await;
///     assert_eq!(NUMBER.get(), 1);
///     let other = preemptive::spawn(async { NUMBER.try_get().is_err() });
///     assert!(other.await.unwrap());
/// })
/// .await;
/// # });
/// ```
pub struct LocalKey<T: 'static> {
    current: thread::LocalKey<RefCell<Option<T>>>,
}

impl<T: 'static> LocalKey<T> {
    /// For `task_local!`; no part of the interface.
    #[doc(hidden)]
    pub const fn __new(current: thread::LocalKey<RefCell<Option<T>>>) -> LocalKey<T> {
        LocalKey { current }
    }

    /// A future that is what `future` is, and has `value` under this key while it is polled and while it is dropped.
    ///
    /// The value is dropped with the future that this returns, unless it was
    /// [taken](crate::task::futures::TaskLocalFuture::take_value).
    ///
    /// # Panics
    ///
    /// Polling it panics inside of [`with`](Self::with) or [`try_with`](Self::try_with) of this key, and in a destructor
    /// of a thread-local after the key's own was destroyed.
    ///
    /// ```
    /// preemptive::task_local! {
    ///     static NUMBER: u32;
    /// }
    ///
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let doubled = NUMBER.scope(21, async { NUMBER.get() * 2 });
    /// assert_eq!(doubled.await, 42);
    /// # });
    /// ```
    pub fn scope<F: Future>(&'static self, value: T, future: F) -> TaskLocalFuture<T, F> {
        TaskLocalFuture {
            key: self,
            value: Some(value),
            future: Some(future),
            _pinned: PhantomPinned,
        }
    }

    /// Calls `f` with `value` under this key. The value is dropped afterwards.
    ///
    /// # Panics
    ///
    /// As a poll of [`scope`](Self::scope)'s future; and if `f` does.
    ///
    /// ```
    /// preemptive::task_local! {
    ///     static NUMBER: u32;
    /// }
    ///
    /// assert_eq!(NUMBER.sync_scope(21, || NUMBER.get() * 2), 42);
    /// ```
    #[track_caller]
    pub fn sync_scope<F, R>(&'static self, value: T, f: F) -> R
    where
        F: FnOnce() -> R,
    {
        let mut value = Some(value);
        match self.inside(&mut value, f) {
            Ok(returned) => returned,
            Err(refused) => refused.panic(),
        }
    }

    /// Calls `f` with the value.
    ///
    /// # Panics
    ///
    /// Outside of a [`scope`](Self::scope) of this key.
    ///
    /// ```
    /// preemptive::task_local! {
    ///     static NAME: String;
    /// }
    ///
    /// let length = NAME.sync_scope("ada".to_owned(), || NAME.with(|name| name.len()));
    /// assert_eq!(length, 3);
    /// ```
    #[track_caller]
    pub fn with<F, R>(&'static self, f: F) -> R
    where
        F: FnOnce(&T) -> R,
    {
        match self.try_with(f) {
            Ok(returned) => returned,
            Err(error) => panic!("{error}: use it inside of `scope` or `sync_scope`"),
        }
    }

    /// Calls `f` with the value, if there is one.
    ///
    /// # Errors
    ///
    /// Outside of a [`scope`](Self::scope) of this key.
    ///
    /// ```
    /// preemptive::task_local! {
    ///     static NAME: String;
    /// }
    ///
    /// assert!(NAME.try_with(|name| name.len()).is_err());
    /// let length = NAME.sync_scope("ada".to_owned(), || NAME.try_with(|name| name.len()));
    /// assert_eq!(length, Ok(3));
    /// ```
    pub fn try_with<F, R>(&'static self, f: F) -> Result<R, AccessError>
    where
        F: FnOnce(&T) -> R,
    {
        // Borrowing cannot fail: no code of the user's runs while the content is borrowed mutably.
        self.current
            .try_with(|current| current.borrow().as_ref().map(f))
            .ok()
            .flatten()
            .ok_or(AccessError { _private: () })
    }

    /// Calls `f` with `value` and the content of the thread-local in each other's places.
    fn inside<R>(
        &'static self,
        value: &mut Option<T>,
        f: impl FnOnce() -> R,
    ) -> Result<R, Refused> {
        self.current
            .try_with(|current| {
                let mut current = current.try_borrow_mut().map_err(|_| Refused::Borrowed)?;
                mem::swap(&mut *current, value);
                Ok(())
            })
            .unwrap_or(Err(Refused::Destroyed))?;
        let _back = TradeBack { key: self, value };
        Ok(f())
    }
}

impl<T: Clone + 'static> LocalKey<T> {
    /// A copy of the value.
    ///
    /// # Panics
    ///
    /// As [`with`](Self::with).
    ///
    /// ```
    /// preemptive::task_local! {
    ///     static NUMBER: u32;
    /// }
    ///
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let task = preemptive::spawn(NUMBER.scope(42, async { NUMBER.get() }));
    /// assert_eq!(task.await.unwrap(), 42);
    /// # });
    /// ```
    #[track_caller]
    pub fn get(&'static self) -> T {
        self.with(T::clone)
    }

    /// A copy of the value, if there is one.
    ///
    /// # Errors
    ///
    /// As for [`try_with`](Self::try_with).
    ///
    /// ```
    /// preemptive::task_local! {
    ///     static NUMBER: u32;
    /// }
    ///
    /// assert!(NUMBER.try_get().is_err());
    /// assert_eq!(NUMBER.sync_scope(42, || NUMBER.try_get()), Ok(42));
    /// ```
    pub fn try_get(&'static self) -> Result<T, AccessError> {
        self.try_with(T::clone)
    }
}

impl<T: 'static> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").finish_non_exhaustive()
    }
}

/// Ends [`LocalKey::inside`], by a panic as well.
struct TradeBack<'a, T: 'static> {
    key: &'static LocalKey<T>,
    value: &'a mut Option<T>,
}

impl<T: 'static> Drop for TradeBack<'_, T> {
    fn drop(&mut self) {
        // Neither can fail: what is borrowed inside was given back inside, and a thread-local that was there when this
        // scope began is destroyed only after the code on this stack.
        self.key
            .current
            .with(|current| mem::swap(&mut *current.borrow_mut(), self.value));
    }
}

/// Why a scope cannot be entered.
enum Refused {
    Borrowed,
    Destroyed,
}

impl Refused {
    #[track_caller]
    fn panic(self) -> ! {
        match self {
            Refused::Borrowed => {
                panic!("cannot enter the scope of a task-local inside of its own `with`")
            }
            Refused::Destroyed => panic!(
                "cannot enter the scope of a task-local in a destructor of a thread-local: \
                 what it is kept in was destroyed"
            ),
        }
    }
}

/// The future of [`LocalKey::scope`].
///
/// ```
/// use preemptive::task::futures::TaskLocalFuture;
///
/// preemptive::task_local! {
///     static NUMBER: u32;
/// }
///
/// struct Request<F> {
///     work: TaskLocalFuture<u32, F>,
/// }
///
/// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
/// let request = Request { work: NUMBER.scope(42, async { NUMBER.get() }) };
/// assert_eq!(request.work.await, 42);
/// # });
/// ```
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct TaskLocalFuture<T: 'static, F> {
    key: &'static LocalKey<T>,
    /// While the future is polled or dropped: what was in the thread-local before.
    value: Option<T>,
    /// Pinned when this is. Dropped in place as soon as it has ended.
    future: Option<F>,
    _pinned: PhantomPinned,
}

impl<T: 'static, F> TaskLocalFuture<T, F> {
    fn project(
        self: Pin<&mut Self>,
    ) -> (&'static LocalKey<T>, &mut Option<T>, Pin<&mut Option<F>>) {
        // SAFETY: nothing is moved out of the reference but `value`, which is never pinned.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: `future` is pinned whenever this is: it is `!Unpin` and not packed, its `Drop` drops `future` in place
        // and moves nothing, and nobody else gets a `&mut` to it.
        let future = unsafe { Pin::new_unchecked(&mut this.future) };
        (this.key, &mut this.value, future)
    }

    /// Takes the value out; `None` if it was taken before.
    ///
    /// The future may be taken from before it has ended: from then on there is no value under the key while it is polled.
    ///
    /// ```
    /// preemptive::task_local! {
    ///     static COUNT: std::cell::Cell<u32>;
    /// }
    ///
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let counting = async { (0..5).for_each(|_| COUNT.with(|count| count.set(count.get() + 1))) };
    /// let mut counting = Box::pin(COUNT.scope(Default::default(), counting));
    /// counting.as_mut().await;
    /// assert_eq!(counting.as_mut().take_value().unwrap().get(), 5);
    /// # });
    /// ```
    pub fn take_value(self: Pin<&mut Self>) -> Option<T> {
        self.project().1.take()
    }
}

impl<T: 'static, F: Future> Future for TaskLocalFuture<T, F> {
    type Output = F::Output;

    #[track_caller]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let (key, value, mut place) = self.project();
        let polled = key.inside(value, || {
            let polled = place.as_mut().as_pin_mut()?.poll(context);
            if polled.is_ready() {
                // Its destructor is to find the value.
                place.set(None);
            }
            Some(polled)
        });
        match polled {
            Ok(Some(polled)) => polled,
            Ok(None) => panic!("a task-local's `scope` was polled after it had ended"),
            Err(refused) => refused.panic(),
        }
    }
}

impl<T: 'static, F> Drop for TaskLocalFuture<T, F> {
    fn drop(&mut self) {
        if !mem::needs_drop::<F>() || self.future.is_none() {
            return;
        }
        let TaskLocalFuture {
            key, value, future, ..
        } = self;
        // Where the scope is refused, the future is dropped all the same, as a field. It is dropped in place either way.
        let _ = key.inside(value, || *future = None);
    }
}

impl<T: fmt::Debug + 'static, F> fmt::Debug for TaskLocalFuture<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("TaskLocalFuture");
        match &self.value {
            Some(value) => fields.field("value", value),
            None => fields.field("value", &format_args!("<missing>")),
        };
        fields.finish()
    }
}

/// There is no value under this key here. Returned by [`LocalKey::try_with`].
///
/// ```
/// use preemptive::task::AccessError;
///
/// preemptive::task_local! {
///     static USER: &'static str;
/// }
///
/// fn greeting() -> Result<String, AccessError> {
///     Ok(format!("Hello, {}!", USER.try_get()?))
/// }
///
/// assert_eq!(greeting().unwrap_err().to_string(), "the task-local has no value here");
/// assert_eq!(USER.sync_scope("Ada", greeting), Ok("Hello, Ada!".to_owned()));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AccessError {
    _private: (),
}

impl fmt::Debug for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessError")
    }
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task-local has no value here")
    }
}

impl Error for AccessError {}
