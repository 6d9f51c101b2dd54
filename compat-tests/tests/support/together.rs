//! Many tasks of one kind.

use futures::future::join_all;

/// Starts so many tasks, each told its number, and waits for all of them. A panic goes on here.
pub(crate) async fn together<T, F>(count: usize, task: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let tasks: Vec<_> = (0..count)
        .map(|number| preemptive::spawn(task(number)))
        .collect();
    let ended = join_all(tasks).await.into_iter();
    ended
        .map(|end| end.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())))
        .collect()
}
