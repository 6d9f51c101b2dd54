//! `tokio::fs`.

use crate::beside;
use crate::crowd::busy;
use crate::directory::Directory;
use crate::together::together;
use std::io::SeekFrom;
use std::time::Duration;
use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, AsyncWriteExt, BufReader, BufWriter};

/// What is at a place in a task's file.
fn byte(task: usize, place: usize) -> u8 {
    (task * 31 + place * 7 + place / 251) as u8
}

#[test]
fn files_hold_what_tasks_have_written() {
    const SIZE: usize = 40_000;
    let directory = Directory::new("written");
    let path = directory.path();
    beside(async move {
        together(6, |number| {
            let (draft, done) = (
                path.join(format!("{number}.draft")),
                path.join(number.to_string()),
            );
            async move {
                let content: Vec<u8> = (0..SIZE).map(|place| byte(number, place)).collect();
                let mut file = File::create(&draft).await.unwrap();
                for piece in content.chunks(1_777) {
                    file.write_all(piece).await.unwrap();
                    busy(Duration::from_micros(50));
                }
                file.flush().await.unwrap();
                drop(file);
                fs::rename(&draft, &done).await.unwrap();
                assert_eq!(fs::metadata(&done).await.unwrap().len(), SIZE as u64);
                assert!(fs::read(&done).await.unwrap() == content);

                // In the middle of it, and behind its end.
                let mut options = OpenOptions::new();
                let mut file = options.read(true).write(true).open(&done).await.unwrap();
                file.seek(SeekFrom::Start(SIZE as u64 / 2)).await.unwrap();
                let mut part = [0; 100];
                file.read_exact(&mut part).await.unwrap();
                assert_eq!(part[..], content[SIZE / 2..][..100]);
                file.seek(SeekFrom::End(0)).await.unwrap();
                file.write_all(b"end").await.unwrap();
                file.flush().await.unwrap();
                let read = fs::read(&done).await.unwrap();
                assert!(read.len() == SIZE + 3 && read.ends_with(b"end"));
            }
        })
        .await;
        let mut names = Vec::new();
        let mut entries = fs::read_dir(&path).await.unwrap();
        while let Some(entry) = entries.next_entry().await.unwrap() {
            names.push(entry.file_name().into_string().unwrap());
        }
        names.sort_unstable();
        assert_eq!(names, ["0", "1", "2", "3", "4", "5"]);
        assert!(!fs::try_exists(path.join("0.draft")).await.unwrap());
        let missing = fs::read(path.join("missing")).await.unwrap_err();
        assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
    });
}

#[test]
fn lines_go_through_buffers_and_copies() {
    let directory = Directory::new("lines");
    let path = directory.path();
    beside(async move {
        let sums = together(4, |number| {
            let (one, other) = (
                path.join(format!("{number}.one")),
                path.join(format!("{number}.other")),
            );
            async move {
                let mut out = BufWriter::new(File::create(&one).await.unwrap());
                for line in 0..500_u64 {
                    out.write_all(format!("{line}\n").as_bytes()).await.unwrap();
                }
                out.flush().await.unwrap();
                let mut from = File::open(&one).await.unwrap();
                let mut to = File::create(&other).await.unwrap();
                let copied = tokio::io::copy(&mut from, &mut to).await.unwrap();
                to.flush().await.unwrap();
                assert_eq!(copied, fs::metadata(&one).await.unwrap().len());
                let mut lines = BufReader::new(File::open(&other).await.unwrap()).lines();
                let mut sum = 0;
                while let Some(line) = lines.next_line().await.unwrap() {
                    sum += line.parse::<u64>().unwrap();
                }
                fs::remove_file(&one).await.unwrap();
                sum
            }
        })
        .await;
        assert_eq!(sums, [124_750; 4]);
    });
}
