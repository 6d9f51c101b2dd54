//! The file that a timeline is written to: in whole events only, so that it can be read as far as it got.

use crate::primitives::Mutex;
use std::fs;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Files that runtimes of this process record into: device and number.
static IN_USE: Mutex<Vec<(u64, u64)>> = Mutex::new(Vec::new());

fn in_use<R>(f: impl FnOnce(&mut Vec<(u64, u64)>) -> R) -> R {
    f(&mut IN_USE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner()))
}

/// See the module's head.
#[derive(Debug)]
pub(super) struct File {
    file: fs::File,
    path: PathBuf,
    /// Which one it is, if it is a regular one.
    number: Option<(u64, u64)>,
    /// What of it is whole.
    written: u64,
    /// The only error so far.
    has_failed: bool,
}

impl File {
    /// Opens it for writing. What was in it is gone.
    pub(super) fn open(path: &Path) -> io::Result<File> {
        let named = |error: io::Error| {
            let text = format!("cannot record a timeline to {}: {error}", path.display());
            io::Error::new(error.kind(), text)
        };
        let file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            // Not before it is known that nobody else records there.
            .truncate(false)
            .open(path)
            .map_err(named)?;
        let metadata = file.metadata().map_err(named)?;
        let number = (metadata.dev(), metadata.ino());
        let number = metadata.is_file().then_some(number);
        if let Some(number) = number {
            let is_free = in_use(|files| {
                let is_free = !files.contains(&number);
                if is_free {
                    files.push(number);
                }
                is_free
            });
            if !is_free {
                return Err(named(io::Error::new(
                    io::ErrorKind::ResourceBusy,
                    "another runtime records there: give each a file of its own",
                )));
            }
        }
        let file = File {
            file,
            path: path.to_owned(),
            number,
            written: 0,
            has_failed: false,
        };
        if number.is_some() {
            file.file.set_len(0).map_err(named)?;
        }
        Ok(file)
    }

    /// Adds whole events, and leaves `bytes` empty. After a failure, of which it tells once, nothing is written any more.
    pub(super) fn write(&mut self, bytes: &mut Vec<u8>) {
        if !self.has_failed && !bytes.is_empty() {
            match self.file.write_all(bytes) {
                Ok(()) => self.written += bytes.len() as u64,
                Err(error) => self.fail(&error),
            }
        }
        bytes.clear();
    }

    /// Does it take any more?
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed
    }

    #[cold]
    fn fail(&mut self, error: &io::Error) {
        self.has_failed = true;
        eprintln!(
            "preemptive: cannot write the timeline {}: {error}; it ends here, and the runtime goes on",
            self.path.display()
        );
        if self.number.is_some() {
            // Half an event would spoil it. Should these fail as well, there is nothing else to do.
            let _ = self.file.set_len(self.written);
            let _ = self.file.seek(SeekFrom::Start(self.written));
            let _ = self.file.write_all(b"\n]\n");
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            in_use(|files| files.retain(|file| *file != number));
        }
    }
}
