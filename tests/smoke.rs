mod support;
use preemptive::runtime::Builder;
use preemptive::time::sleep;
use std::time::{Duration, Instant};
use std::collections::HashMap;

fn work(seed: u64) -> u64 {
    let mut m = HashMap::new();
    let mut v = Vec::new();
    let mut s = String::new();
    for i in 0..20_000u64 {
        m.insert(i.wrapping_mul(seed), i);
        if i % 7 == 0 { v.push(vec![i; (i % 50) as usize]); }
        if i % 11 == 0 { s = format!("{s}{i}"); if s.len() > 1000 { s.clear(); } }
    }
    m.len() as u64 + v.len() as u64
}

#[test]
fn mixed() {
    let workers: usize = std::env::var("W").ok().and_then(|v| v.parse().ok()).unwrap_or(2);
    let slice: u64 = std::env::var("S").ok().and_then(|v| v.parse().ok()).unwrap_or(50);
    let rt = Builder::new_multi_thread().worker_threads(workers).time_slice(Duration::from_micros(slice)).build().unwrap();
    let start = Instant::now();
    rt.block_on(async {
        let hs: Vec<_> = (0..8u64).map(|i| preemptive::spawn(async move {
            let a = work(i * 2 + 1);
            for _ in 0..20 { assert_eq!(work(i * 2 + 1), a); preemptive::task::yield_now().await; }
            a
        })).collect();
        let t = preemptive::spawn(async { let mut n = 0; let mut max = Duration::ZERO; for _ in 0..200 {
            let d = Instant::now(); sleep(Duration::from_millis(1)).await; max = max.max(d.elapsed()); n += 1; } (n, max) });
        for h in hs { h.await.unwrap(); }
        eprintln!("ticker {:?}", t.await.unwrap());
    });
    let m = rt.metrics();
    eprintln!("{:?} async {} sync {} migr {} refused crit {} sched {} handler {} sys {} handover {} fibers {} workers {} givenback {}", start.elapsed(), m.asynchronous_preemptions(), m.synchronous_preemptions(), m.migrations(), m.refused_in_critical_section(), m.refused_in_scheduler(), m.refused_in_handler(), m.refused_in_system_call(), m.hand_overs(), m.fibers(), m.worker_threads(), m.given_back());
}
