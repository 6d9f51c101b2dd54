//! SQLite through rusqlite: C code that takes locks, allocates, sleeps and calls the system, in polls that are preempted.

use crate::crowd::{Crowd, LONG, busy};
use crate::directory::Directory;
use crate::together::together;
use rusqlite::{Connection, ErrorCode, TransactionBehavior, params};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

const ACCOUNTS: i64 = 10;
const EACH: i64 = 1_000;

/// Connections under ordinary locks, as one writes it where blocking is fine.
struct Pool {
    connections: Vec<Mutex<Connection>>,
    next: AtomicUsize,
}

impl Pool {
    fn new(path: &Path, count: usize) -> Pool {
        let connections = (0..count).map(|_| Mutex::new(open(path))).collect();
        let next = AtomicUsize::new(0);
        Pool { connections, next }
    }

    /// The next one in turn. Whoever has it may be preempted, or asleep.
    fn get(&self) -> MutexGuard<'_, Connection> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.connections[next % self.connections.len()]
            .lock()
            .unwrap()
    }
}

fn open(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(LONG).unwrap();
    connection
        .pragma_update(None, "journal_mode", "wal")
        .unwrap();
    // Nobody pulls the plug.
    connection
        .pragma_update(None, "synchronous", "off")
        .unwrap();
    connection
}

/// Accounts, with as much in each.
fn make_accounts(path: &Path) {
    let mut connection = open(path);
    let all = connection.transaction().unwrap();
    all.execute_batch(
        "create table account (id integer primary key, sum integer not null check (sum >= 0));
         create table moved (task integer, turn integer, primary key (task, turn));",
    )
    .unwrap();
    for id in 0..ACCOUNTS {
        all.execute("insert into account values (?1, ?2)", [id, EACH])
            .unwrap();
    }
    all.commit().unwrap();
}

/// Moves money in a transaction, in the middle of which it computes or sleeps. `false`: rolled back.
fn move_money(connection: &mut Connection, task: usize, turn: usize) -> bool {
    let from = ((task * 7 + turn) % ACCOUNTS as usize) as i64;
    let to = (from + 1 + turn as i64 % (ACCOUNTS - 1)) % ACCOUNTS;
    let all = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .unwrap();
    all.prepare_cached("update account set sum = sum - 10 where id = ?1")
        .unwrap()
        .execute([from])
        .unwrap();
    match turn % 4 {
        0 => std::thread::sleep(Duration::from_micros(300)),
        _ => busy(Duration::from_micros(150)),
    }
    if turn % 5 == 4 {
        // Dropped without a commit.
        return false;
    }
    all.execute("update account set sum = sum + 10 where id = ?1", [to])
        .unwrap();
    all.execute("insert into moved values (?1, ?2)", params![task, turn])
        .unwrap();
    all.commit().unwrap();
    true
}

/// What all accounts hold, read one by one in one transaction.
fn total(connection: &mut Connection) -> i64 {
    let all = connection.transaction().unwrap();
    let mut sum = 0;
    for id in 0..ACCOUNTS {
        let one = "select sum from account where id = ?1";
        sum += all
            .query_row(one, [id], |row| row.get::<_, i64>(0))
            .unwrap();
        busy(Duration::from_micros(20));
    }
    sum
}

#[test]
fn transactions_are_whole_whatever_happens_in_the_middle_of_them() {
    let directory = Directory::new("sqlite");
    let path = directory.path().join("bank");
    make_accounts(&path);
    Crowd::new().run(async move {
        let pool = Arc::new(Pool::new(&path, 3));
        let moved = together(6, |task| {
            let pool = pool.clone();
            async move {
                let mut moved = 0;
                for turn in 0..25 {
                    if (task + turn) % 3 == 0 {
                        assert_eq!(total(&mut pool.get()), ACCOUNTS * EACH);
                    }
                    moved += usize::from(move_money(&mut pool.get(), task, turn));
                    preemptive::task::yield_now().await;
                }
                moved
            }
        })
        .await;
        assert_eq!(moved, [20; 6]);
        let mut connection = pool.get();
        assert_eq!(total(&mut connection), ACCOUNTS * EACH);
        let count = "select count(*) from moved";
        let rows: i64 = connection.query_row(count, [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 120);
        let check = "pragma integrity_check";
        let check: String = connection.query_row(check, [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
    });
}

#[test]
fn who_has_waited_long_enough_for_another_transaction_is_told() {
    let directory = Directory::new("busy");
    let path = directory.path().join("bank");
    make_accounts(&path);
    Crowd::new().run(async move {
        let (mut holder, other) = (open(&path), open(&path));
        other.busy_timeout(Duration::from_millis(20)).unwrap();
        let (sender, told) = std::sync::mpsc::channel();
        let others = async move {
            let error = other.execute("delete from moved", []).unwrap_err();
            assert_eq!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy));
            // Readers go on meanwhile, with what was before.
            let count = "select count(*) from account";
            let rows: i64 = other.query_row(count, [], |row| row.get(0)).unwrap();
            assert_eq!(rows, ACCOUNTS);
            sender.send(()).unwrap();
            // With more patience.
            other.busy_timeout(LONG).unwrap();
            other
                .execute("insert into moved values (1, 1)", [])
                .unwrap()
        };
        // The transaction lasts for one poll, in which this task blocks.
        let waits = {
            let behavior = TransactionBehavior::Immediate;
            let all = holder.transaction_with_behavior(behavior).unwrap();
            all.execute("delete from account", []).unwrap();
            let waits = preemptive::spawn(others);
            told.recv_timeout(LONG).unwrap();
            busy(Duration::from_millis(2));
            assert!(!waits.is_finished());
            all.rollback().unwrap();
            waits
        };
        assert_eq!(waits.await.unwrap(), 1);
        assert_eq!(total(&mut holder), ACCOUNTS * EACH);
    });
}

#[test]
fn databases_in_memory_sort_and_aggregate_in_preempted_polls() {
    Crowd::new().run(async {
        together(4, |number| async move {
            let mut connection = Connection::open_in_memory().unwrap();
            connection
                .execute_batch("create table data (id integer primary key, text text, value real)")
                .unwrap();
            let all = connection.transaction().unwrap();
            for id in 0..1_000_i64 {
                let text = format!("{:05}", (id * 7_919 + number as i64) % 10_007);
                all.prepare_cached("insert into data values (?1, ?2, ?3)")
                    .unwrap()
                    .execute(params![id, text, id as f64 / 4.0])
                    .unwrap();
            }
            all.commit().unwrap();
            let mut sorted = connection
                .prepare("select text, sum(value) over (order by text) from data order by text")
                .unwrap();
            let rows: Vec<(String, f64)> = sorted
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
                .unwrap()
                .map(Result::unwrap)
                .collect();
            assert_eq!(rows.len(), 1_000);
            assert!(rows.is_sorted_by(|one, next| one.0 <= next.0));
            // Quarters are exact.
            assert_eq!(rows[999].1, 124_875.0);
        })
        .await;
    });
}
