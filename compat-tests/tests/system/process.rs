//! `tokio::process`: children of preempted tasks.

use crate::beside;
use crate::crowd::{LONG, busy};
use crate::together::together;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// A child that lasts.
fn long() -> Command {
    let mut command = Command::new("sleep");
    command.arg("1000").kill_on_drop(true);
    command
}

#[test]
fn children_are_talked_to_through_pipes() {
    beside(async {
        together(4, |number| async move {
            let mut child = Command::new("cat")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            let mut to = child.stdin.take().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            for turn in 0..25 {
                let said = format!("{turn} of {number}");
                to.write_all(format!("{said}\n").as_bytes()).await.unwrap();
                busy(Duration::from_micros(150));
                assert_eq!(lines.next_line().await.unwrap(), Some(said));
            }
            drop(to);
            assert_eq!(lines.next_line().await.unwrap(), None);
            assert!(child.wait().await.unwrap().success());
        })
        .await;
    });
}

#[test]
fn each_task_gets_the_end_of_its_own_child() {
    beside(async {
        let codes = together(12, |number| async move {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("exit {number}")]);
            let status = command.status().await.unwrap();
            busy(Duration::from_micros(150));
            status.code()
        })
        .await;
        assert_eq!(codes, (0..12).map(Some).collect::<Vec<_>>());
        let output = Command::new("sh")
            .args(["-c", "head -c 300000 /dev/zero; echo done >&2"])
            .output()
            .await
            .unwrap();
        assert!(output.stdout.len() == 300_000 && output.stdout.iter().all(|byte| *byte == 0));
        assert_eq!(output.stderr, b"done\n");
        let error = Command::new("/no/such/program").spawn().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    });
}

#[test]
fn children_are_killed_when_they_are_to_be() {
    beside(async {
        let signals = together(6, |number| async move {
            let mut child = long().spawn().unwrap();
            let pid = child.id().unwrap();
            // One that lasts is still there.
            let limit = Duration::from_millis(5);
            assert!(tokio::time::timeout(limit, child.wait()).await.is_err());
            assert!(child.try_wait().unwrap().is_none());
            match number % 3 {
                0 => child.kill().await.unwrap(),
                1 => child.start_kill().unwrap(),
                _ => {
                    let mut kill = Command::new("kill");
                    assert!(kill.arg(pid.to_string()).status().await.unwrap().success());
                }
            }
            let status = child.wait().await.unwrap();
            assert_eq!(child.id(), None);
            (number % 3, status.signal())
        })
        .await;
        for (way, signal) in signals {
            assert_eq!(signal, Some(if way == 2 { SIGTERM } else { SIGKILL }));
        }
    });
}

#[test]
fn children_that_nobody_waits_for_any_more_are_killed_and_reaped() {
    beside(async {
        together(4, |_| async {
            let child = long().spawn().unwrap();
            let place = format!("/proc/{}", child.id().unwrap());
            assert!(Path::new(&place).exists());
            // In an aborted task.
            let waits = preemptive::spawn(async move {
                let mut child = child;
                child.wait().await
            });
            preemptive::task::yield_now().await;
            waits.abort();
            assert!(waits.await.unwrap_err().is_cancelled());
            // Until somebody has reaped it, its entry stays.
            let gone = async {
                while Path::new(&place).exists() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(LONG, gone).await.unwrap();
        })
        .await;
    });
}
