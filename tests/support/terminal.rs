//! A person's terminal: the program runs in a real pseudo-terminal, and the screen is read as a person would.

#![allow(dead_code, unreachable_pub, reason = "each test program uses its own part")]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

use crate::support::{PATIENCE, eventually};

const COLUMNS: u16 = 120;

/// A running program and its screen, which ends with this value.
pub struct Terminal {
    child: Child,
    keyboard: File,
    shown: Arc<(Mutex<Screen>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

/// What understands carriage returns, line feeds and nothing else, as long as nothing else comes.
#[derive(Default)]
pub struct Screen {
    lines: Vec<Vec<char>>,
    column: usize,
    /// Everything that was written, one after the other.
    written: String,
}

impl Screen {
    fn write(&mut self, text: &str) {
        self.written += text;
        for character in text.chars() {
            if self.lines.is_empty() {
                self.lines.push(Vec::new());
            }
            match character {
                '\r' => self.column = 0,
                '\n' => self.lines.push(Vec::new()),
                other => {
                    assert!(!other.is_control(), "{other:?} in {:?}", self.written);
                    if self.column == usize::from(COLUMNS) {
                        self.lines.push(Vec::new());
                        self.column = 0;
                    }
                    let line = self.lines.last_mut().unwrap();
                    line.resize(line.len().max(self.column + 1), ' ');
                    line[self.column] = other;
                    self.column += 1;
                }
            }
        }
    }

    /// The lines as they are, without blanks at their ends.
    pub fn lines(&self) -> Vec<String> {
        self.lines.iter().map(|line| line.iter().collect::<String>().trim_end().to_owned()).collect()
    }

    /// Where the next character goes: 0 is the beginning of a line.
    pub fn column(&self) -> usize {
        self.column
    }

    pub fn written(&self) -> &str {
        &self.written
    }
}

impl Terminal {
    /// Runs a command with a terminal of its own to control it.
    pub fn start(command: &Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize { ws_row: 40, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        // Otherwise the kernel may discard what the program writes right after Ctrl+C.
        let mut modes = tcgetattr(&slave).unwrap();
        modes.local_modes |= LocalModes::NOFLSH;
        tcsetattr(&slave, OptionalActions::Now, &modes).unwrap();
        let child = in_session(command, slave).spawn().unwrap();
        let keyboard = File::from(master);
        let mut output = keyboard.try_clone().unwrap();
        let shown = Arc::<(Mutex<Screen>, Condvar)>::default();
        let sink = Arc::clone(&shown);
        let reader = thread::spawn(move || {
            let (mut buffer, mut pending) = ([0; 4096], Vec::new());
            // The end is an error: nobody has the other side open any more.
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                pending.extend_from_slice(&buffer[..length]);
                // Half a character waits for its other half.
                if let Ok(text) = std::str::from_utf8(&pending) {
                    sink.0.lock().unwrap().write(text);
                    sink.1.notify_all();
                    pending.clear();
                }
            }
        });
        Self { child, keyboard, shown, reader: Some(reader) }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the screen shows what is wanted.
    pub fn wait_for<T>(&self, what: &str, wanted: impl Fn(&Screen) -> Option<T>) -> T {
        let (screen, changed) = &*self.shown;
        let guard = screen.lock().unwrap();
        let (screen, _) =
            changed.wait_timeout_while(guard, PATIENCE, |screen| wanted(screen).is_none()).unwrap();
        wanted(&screen).unwrap_or_else(|| panic!("no {what} on the screen:\n{}", screen.lines().join("\n")))
    }

    pub fn wait_for_text(&self, text: &str) {
        self.wait_for(text, |screen| screen.written().contains(text).then_some(()));
    }

    /// Presses Ctrl and C.
    pub fn interrupt(&mut self) {
        self.keyboard.write_all(b"\x03").unwrap();
    }

    /// Waits for the end of the program, and gives what is on the screen then.
    pub fn end(mut self) -> (i32, Screen) {
        let mut status: Option<ExitStatus> = None;
        eventually("the program ends", || {
            status = self.child.try_wait().unwrap();
            status
        });
        self.reader.take().unwrap().join().unwrap();
        let screen = std::mem::take(&mut *self.shown.0.lock().unwrap());
        (status.unwrap().code().unwrap_or(-1), screen)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The command as the leader of a session, with a terminal. What does that in the process itself is no safe code;
/// `setsid` becomes the program without another process.
fn in_session(command: &Command, terminal: OwnedFd) -> Command {
    let mut session = Command::new("setsid");
    session.arg("--ctty").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => session.env(name, value),
            None => session.env_remove(name),
        };
    }
    let terminal = File::from(terminal);
    session.stdin(terminal.try_clone().unwrap()).stdout(terminal.try_clone().unwrap()).stderr(terminal);
    session
}
