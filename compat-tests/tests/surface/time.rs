// Bodies of `contract_surface`: `rt` is the runtime's crate.

use compat_tests::text;
use rt::time::{
    Duration, Instant, MissedTickBehavior, advance, interval, interval_at, pause, resume, sleep,
    sleep_until, timeout, timeout_at,
};
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;

const MS: Duration = Duration::from_millis(1);

/// Runs a body on a thread whose clock stands still.
fn paused<T>(body: impl Future<Output = T>) -> T {
    rt::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(body)
}

pub(crate) fn sleeps_end_in_order() -> Vec<(u32, u128)> {
    paused(async {
        let start = Instant::now();
        let tasks: Vec<_> = [30, 10, 20, 10, 0]
            .into_iter()
            .map(|length| {
                rt::spawn(async move {
                    sleep(length * MS).await;
                    (length, start.elapsed().as_millis())
                })
            })
            .collect();
        let mut ends = Vec::new();
        for task in tasks {
            ends.push(task.await.unwrap());
        }
        // Nothing else to do: a day passes at once.
        sleep(Duration::from_secs(86_400)).await;
        ends.push((0, start.elapsed().as_millis()));
        ends
    })
}

pub(crate) fn advancing() -> Vec<String> {
    paused(async {
        let start = Instant::now();
        let mut nap = pin!(sleep(10 * MS));
        let mut seen = vec![text(futures::poll!(nap.as_mut()).is_ready())];
        advance(9 * MS).await;
        seen.push(text((start.elapsed(), futures::poll!(nap.as_mut()).is_ready())));
        advance(MS).await;
        seen.push(text((start.elapsed(), futures::poll!(nap.as_mut()).is_ready())));
        seen.push(text(nap.is_elapsed()));
        seen.push(text(nap.deadline() - start));
        // A task that waits runs while time is moved.
        let task = rt::spawn(async move {
            sleep(5 * MS).await;
            start.elapsed()
        });
        rt::task::yield_now().await;
        advance(5 * MS).await;
        seen.push(text(task.await.unwrap()));
        resume();
        pause();
        seen
    })
}

pub(crate) fn intervals() -> Vec<Vec<u128>> {
    let behaviours = [
        MissedTickBehavior::Burst,
        MissedTickBehavior::Delay,
        MissedTickBehavior::Skip,
    ];
    behaviours
        .into_iter()
        .map(|behaviour| {
            paused(async move {
                let start = Instant::now();
                let mut ticks = interval(10 * MS);
                ticks.set_missed_tick_behavior(behaviour);
                let mut seen = Vec::new();
                for turn in 0..8 {
                    let tick = ticks.tick().await;
                    seen.push((tick - start).as_millis());
                    seen.push(start.elapsed().as_millis());
                    if turn == 2 {
                        advance(35 * MS).await;
                    }
                }
                ticks.reset();
                seen.push((ticks.tick().await - start).as_millis());
                ticks.reset_after(3 * MS);
                seen.push((ticks.tick().await - start).as_millis());
                ticks.reset_immediately();
                seen.push((ticks.tick().await - start).as_millis());
                ticks.reset_at(Instant::now() + 7 * MS);
                seen.push((ticks.tick().await - start).as_millis());
                let mut late = interval_at(Instant::now() + 50 * MS, 10 * MS);
                seen.push((late.tick().await - start).as_millis());
                seen.push(late.period().as_millis());
                seen
            })
        })
        .collect()
}

pub(crate) fn limits() -> Vec<String> {
    paused(async {
        let start = Instant::now();
        let mut seen = vec![text(timeout(10 * MS, sleep(9 * MS)).await)];
        seen.push(text(timeout(10 * MS, sleep(11 * MS)).await));
        // Both at once: the future goes first.
        seen.push(text(timeout(10 * MS, sleep(10 * MS)).await));
        seen.push(text(timeout(Duration::ZERO, async { 1 }).await));
        seen.push(text(timeout(Duration::ZERO, pending::<()>()).await));
        seen.push(text(timeout_at(start, pending::<()>()).await));
        seen.push(text(timeout_at(Instant::now() + MS, sleep(2 * MS)).await));
        let error = timeout(MS, pending::<()>()).await.unwrap_err();
        seen.push(error.to_string());
        seen.push(text(std::io::Error::from(error).kind()));
        seen.push(text(start.elapsed()));
        seen
    })
}

pub(crate) fn resetting() -> Vec<String> {
    paused(async {
        let start = Instant::now();
        let mut nap = pin!(sleep(5 * MS));
        nap.as_mut().reset(start + 20 * MS);
        nap.as_mut().await;
        let mut seen = vec![text(start.elapsed())];
        nap.as_mut().reset(start + 10 * MS);
        nap.as_mut().await;
        seen.push(text((start.elapsed(), nap.is_elapsed())));
        nap.as_mut().reset(Instant::now() + 5 * MS);
        seen.push(text(nap.is_elapsed()));
        nap.as_mut().await;
        seen.push(text(start.elapsed()));
        sleep_until(start).await;
        seen.push(text(start.elapsed()));
        seen
    })
}

pub(crate) fn moments() -> Vec<String> {
    paused(async {
        let start = Instant::now();
        advance(3 * MS).await;
        let now = Instant::now();
        vec![
            text(now - start),
            text(start.checked_duration_since(now)),
            text(start.saturating_duration_since(now)),
            text(now.duration_since(start)),
            text(start.checked_add(3 * MS) == Some(now)),
            text(now.checked_sub(3 * MS) == Some(start)),
            text(Instant::from_std(now.into_std()) == now),
            text(now > start),
        ]
    })
}

/// What panics, and what does not.
pub(crate) fn clock_misuse() -> Vec<bool> {
    let panics = |f: &dyn Fn()| catch_unwind(AssertUnwindSafe(f)).is_err();
    vec![
        panics(&|| pause()),
        panics(&|| resume()),
        panics(&|| current().block_on(async { resume() })),
        panics(&|| paused(async { pause() })),
        panics(&|| multi().block_on(async { pause() })),
        panics(&|| current().block_on(async { pause() })),
        panics(&|| paused(async { resume() })),
        panics(&|| drop(sleep(MS))),
    ]
}
