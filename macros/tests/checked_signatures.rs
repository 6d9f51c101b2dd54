//! `#[preemptive::checked]` on every kind of signature: each compiles, is checked once, and does what it did.

mod mock;

use std::fmt::{Debug, Display};
use std::future::Future;
use std::panic::Location;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use preemptive_macros::checked;

use mock::Check::{Enter, Safepoint};
use mock::checks;

/// That a call has this result, and the check of one entry.
macro_rules! entered {
    ($call:expr, $result:expr) => {
        assert_eq!(checks(|| $call), ($result, vec![Enter(0)]))
    };
}

/// That a call has this result, and a check that leaves the stack alone.
macro_rules! stayed {
    ($call:expr, $result:expr) => {
        assert_eq!(checks(|| $call), ($result, vec![Safepoint]))
    };
}

#[checked(crate = "crate::mock")]
fn nothing() {}

#[checked(crate = "crate::mock")]
fn unit(out: &mut u32) {
    *out += 1;
}

#[checked(crate = "crate::mock")]
#[expect(clippy::unused_unit, reason = "it is what this is about")]
fn explicit_unit(out: &mut u32) -> () {
    *out += 1;
}

#[checked(crate = "crate::mock")]
fn early(x: u32) -> u32 {
    if x > 10 {
        return 10;
    }
    x
}

#[checked(crate = "crate::mock")]
fn question_mark(text: &str) -> Result<u32, std::num::ParseIntError> {
    Ok(text.parse::<u32>()? + 1)
}

#[checked(crate = "crate::mock")]
fn option(text: Option<&str>) -> Option<usize> {
    Some(text?.len())
}

#[checked(crate = "crate::mock")]
fn coerces(flag: bool) -> Box<dyn Display> {
    if flag {
        return Box::new(1);
    }
    Box::new("two")
}

#[test]
fn results() {
    entered!(nothing(), ());
    let mut out = 0;
    entered!(unit(&mut out), ());
    entered!(explicit_unit(&mut out), ());
    assert_eq!(out, 2);
    entered!(early(11), 10);
    entered!(early(9), 9);
    entered!(question_mark("1"), Ok(2));
    entered!(question_mark("x").is_err(), true);
    entered!(option(None), None);
    entered!(option(Some("ab")), Some(2));
    entered!(coerces(true).to_string(), "1".to_owned());
    entered!(coerces(false).to_string(), "two".to_owned());
}

#[checked(crate = "crate::mock")]
fn never(text: &str) -> ! {
    panic!("{text}")
}

#[checked(crate = "crate::mock")]
fn ends_in_a_panic(text: &str) -> u32 {
    panic!("{text}")
}

#[test]
fn panics_pass_through() {
    for f in [|| never("on purpose"), || ends_in_a_panic("on purpose")] as [fn() -> u32; 2] {
        let payload = std::panic::catch_unwind(f).unwrap_err();
        assert_eq!(*payload.downcast::<String>().unwrap(), "on purpose");
    }
}

#[checked(crate = "crate::mock")]
fn elided(text: &str) -> &str {
    &text[1..]
}

struct Words<'a>(&'a str);

#[checked(crate = "crate::mock")]
fn elided_in_path(text: &str) -> Words<'_> {
    Words(text)
}

#[checked(crate = "crate::mock")]
fn named<'a, 'b: 'a>(x: &'a str, y: &'b str) -> (&'a str, &'b str) {
    (x, y)
}

#[checked(crate = "crate::mock")]
fn mutable<'a>(list: &'a mut Vec<u32>, _: &u32) -> &'a mut u32 {
    list.push(1);
    &mut list[0]
}

#[checked(crate = "crate::mock")]
fn reference_to_dyn(x: &u32) -> &dyn Display {
    x
}

#[checked(crate = "crate::mock")]
fn boxed<'a>(x: &'a u32) -> Box<dyn Fn(u32) -> u32 + 'a> {
    Box::new(move |y| x + y)
}

#[checked(crate = "crate::mock")]
fn higher_ranked(f: &dyn for<'a> Fn(&'a str) -> &'a str) -> for<'a> fn(&'a str) -> &'a str {
    assert_eq!(f("a"), "a");
    |text| text
}

#[test]
fn lifetimes() {
    entered!(elided("ab"), "b");
    entered!(elided_in_path("ab").0, "ab");
    entered!(named("a", "b"), ("a", "b"));
    entered!(*mutable(&mut vec![7], &0), 7);
    entered!(reference_to_dyn(&3).to_string(), "3".to_owned());
    entered!(boxed(&3)(4), 7);
    entered!(higher_ranked(&|text| text)("z"), "z");
}

#[checked(crate = "crate::mock")]
#[expect(clippy::too_many_arguments, reason = "one of each kind")]
fn patterns(
    (a, mut b): (u32, u32),
    Words(text): Words<'_>,
    &c: &u32,
    [first, .., last]: [u32; 3],
    ref d: u32,
    e @ (f, _): (u32, u32),
    _: String,
    mut g: u32,
    _unused: u32,
) -> u32 {
    b += 1;
    g += 1;
    a + b + text.len() as u32 + c + first + last + *d + e.1 + f + g
}

#[checked(crate = "crate::mock")]
fn lint_on_a_parameter(
    #[expect(unused_variables, reason = "to see that it is met once")] x: u32,
    #[allow(unused_variables, reason = "to see that it is passed on")] (y, z): (u32, u32),
    #[cfg(any())] missing: u32,
    #[cfg(not(any()))] present: u32,
) -> u32 {
    #[cfg(any())]
    return missing;
    present
}

#[test]
fn parameters() {
    entered!(
        patterns(
            (1, 2),
            Words("abc"),
            &4,
            [5, 0, 6],
            7,
            (8, 9),
            String::new(),
            10,
            0
        ),
        1 + 3 + 3 + 4 + 5 + 6 + 7 + 9 + 8 + 11
    );
    entered!(lint_on_a_parameter(1, (2, 3), 4), 4);
}

#[checked(crate = "crate::mock")]
fn generic<T, const N: usize>(list: [T; N]) -> Vec<T>
where
    T: Clone + Ord,
{
    let mut list = list.to_vec();
    list.sort();
    list
}

#[checked(crate = "crate::mock")]
fn takes_impl(f: impl FnOnce(u32) -> u32, mut g: impl FnMut() -> u32) -> u32 {
    f(g()) + g()
}

#[checked(crate = "crate::mock")]
fn returns_impl<'a>(list: &'a [u32], odd: &'a u32) -> impl Iterator<Item = impl Display> + 'a {
    list.iter().filter(move |x| *x % 2 == *odd)
}

#[checked(crate = "crate::mock")]
fn returns_impl_inside(
    x: &u32,
) -> Result<(impl Debug, Box<dyn Iterator<Item = impl Display>>), ()> {
    if *x == 0 {
        return Err(());
    }
    Ok((*x, Box::new([1_u8].into_iter())))
}

#[checked(crate = "crate::mock")]
fn returns_impl_fn() -> impl Fn(&str) -> &str {
    |text| &text[1..]
}

#[checked(crate = "crate::mock")]
fn returns_impl_fn_inside(add: u32) -> Option<impl Fn(u32) -> Box<dyn Display>> {
    Some(move |x| Box::new(x + add) as _)
}

#[checked(crate = "crate::mock")]
fn returns_impl_future(x: u32) -> impl Future<Output = Box<dyn Display>> {
    async move { Box::new(x) as _ }
}

#[test]
fn generics() {
    entered!(generic([2, 1]), vec![1, 2]);
    entered!(takes_impl(|x| x * 2, || 2), 6);
    entered!(
        returns_impl(&[1, 2, 3], &1)
            .map(|x| x.to_string())
            .collect(),
        ["1", "3"].map(str::to_owned).to_vec()
    );
    entered!(returns_impl_inside(&0).is_err(), true);
    entered!(
        returns_impl_inside(&1).map(|(x, y)| format!("{x:?} {}", y.last().unwrap())),
        Ok("1 1".to_owned())
    );
    stayed!(returns_impl_fn()("ab"), "b");
    stayed!(
        returns_impl_fn_inside(1).unwrap()(2).to_string(),
        "3".to_owned()
    );
    stayed!(poll(returns_impl_future(4)).to_string(), "4".to_owned());
}

#[checked(crate = "crate::mock")]
unsafe fn reads(x: *const u32) -> u32 {
    // SAFETY: the caller says so.
    unsafe { *x }
}

#[checked(crate = "crate::mock")]
extern "C" fn called_from_c(x: u32) -> u32 {
    x + 1
}

#[checked(crate = "crate::mock")]
#[target_feature(enable = "avx2")]
fn vectors(x: u32) -> u32 {
    vectors_inside(x)
}

#[target_feature(enable = "avx2")]
fn vectors_inside(x: u32) -> u32 {
    x
}

#[checked(crate = "crate::mock")]
fn recursive(n: u32) -> u32 {
    if n == 0 { 0 } else { 1 + recursive(n - 1) }
}

#[test]
fn qualifiers() {
    let x = 5;
    // SAFETY: it points to a variable.
    entered!(unsafe { reads(&raw const x) }, 5);
    let pointer: extern "C" fn(u32) -> u32 = called_from_c;
    entered!(pointer(5), 6);
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has what it needs.
        entered!(unsafe { vectors(5) }, 5);
    }
    assert_eq!(checks(|| recursive(9)), (9, vec![Enter(0); 10]));
}

/// The caller's line.
#[checked(crate = "crate::mock")]
#[track_caller]
#[must_use]
fn line() -> u32 {
    Location::caller().line()
}

#[test]
fn the_caller_is_tracked() {
    stayed!(line(), line!());
}

#[checked(crate = "crate::mock")]
async fn later((x, _): (&u32, u32), mut y: u32) -> Result<u32, Box<dyn std::error::Error>> {
    y += std::future::ready(*x).await;
    Ok("1".parse::<u32>()? + y)
}

#[test]
fn async_functions_stay() {
    let x = 1;
    let (future, none) = checks(|| later((&x, 0), 2));
    assert_eq!(none, []);
    stayed!(poll(future).unwrap(), 4);
}

fn poll<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits for nothing"),
    }
}

macro_rules! make {
    ($name:ident, $x:ident: $type:ty, $pattern:pat, $output:ty, $body:expr) => {
        #[checked(crate = "crate::mock")]
        fn $name($x: $type, $pattern: $type) -> $output {
            $body
        }
    };
    ($item:item) => {
        #[checked(crate = "crate::mock")]
        $item
    };
}

make!(from_pieces, x: (u32, u32), (y, _), u32, x.0 + y);
make! {
    fn from_an_item(x: u32) -> u32 {
        x
    }
}

// The expansion's own variables are not the user's.
fn parameter_0() -> u32 {
    7
}

#[checked(crate = "crate::mock")]
fn hygiene((x, _): (u32, u32)) -> u32 {
    x + parameter_0()
}

#[test]
fn macros() {
    entered!(from_pieces((1, 2), (3, 4)), 4);
    entered!(from_an_item(5), 5);
    entered!(hygiene((1, 2)), 8);
}
