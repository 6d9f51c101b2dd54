//! Two tasks, one of which never yields.

use preemptive::time::{Duration, sleep};

#[preemptive::main(worker_threads = 1, time_slice = "1ms")]
async fn main() {
    let _hog = preemptive::spawn(async {
        loop {
            std::hint::spin_loop();
        }
    });
    for i in 0..5 {
        sleep(Duration::from_millis(10)).await;
        println!("tick {i}, in spite of the hog");
    }
    // Dropping the runtime would wait for the hog.
    std::process::exit(0);
}
