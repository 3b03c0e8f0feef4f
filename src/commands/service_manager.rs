//! Tells the service manager what the program does, with the messages of `sd_notify(3)`.
//!
//! A thread of its own sends them, so that nothing else waits for the socket. A message that cannot be sent is lost.

use std::ffi::{OsStr, OsString};
use std::io;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Handle;
use tokio::time::Instant;

/// The number of messages that wait to be sent.
const QUEUE: usize = 64;
/// How long one message may wait for a socket whose reader is slow.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the end of the process waits for messages to be sent.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(200);

/// The message after which only statuses are sent, and pings of the watchdog.
const STOPPING: &str = "STOPPING=1";

/// The service manager of this process, if it has one. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct ServiceManager(Option<SyncSender<Message>>);

#[derive(Debug)]
enum Message {
    /// Variables, one per line.
    Notify(String),
    /// Answers when all messages before it have been sent.
    Flush(SyncSender<()>),
}

/// What the service manager asks for in the environment.
#[derive(Debug)]
struct Request {
    socket: OsString,
    /// The interval of its watchdog.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// Notifies the service manager that `NOTIFY_SOCKET` names from now on, and its watchdog if it has one.
    ///
    /// The pings of the watchdog end when no worker of the current runtime runs a task any more.
    ///
    /// # Errors
    /// If the thread that sends cannot be started.
    pub(super) fn from_environment() -> io::Result<Self> {
        match Request::from_variables(|name| std::env::var_os(name)) {
            Some(request) => Self::start(request, Handle::current()),
            None => Ok(Self::default()),
        }
    }

    fn start(request: Request, runtime: Handle) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        let (queue, messages) = mpsc::sync_channel(QUEUE);
        let name = "service manager".to_owned();
        thread::Builder::new().name(name).spawn(move || run(&socket, &request, &messages, &runtime))?;
        Ok(Self(Some(queue)))
    }

    /// Says that the program has started.
    pub(super) fn ready(&self) {
        self.notify("READY=1".to_owned());
    }

    /// Says that a reload has begun; that it has ended when the return value is dropped.
    pub(super) fn reloading(&self) -> Reloading {
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.notify(format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"));
        Reloading(self.clone())
    }

    /// Says that the program stops.
    pub(super) fn stopping(&self) {
        self.notify(STOPPING.to_owned());
    }

    /// Replaces the line that people see.
    pub(super) fn status(&self, line: &str) {
        self.notify(format!("STATUS={}", line.replace(char::is_control, " ")));
    }

    /// Waits until all messages have been sent, for at most 200 ms.
    pub(super) fn flush(&self) {
        let (sent, wait) = mpsc::sync_channel(1);
        if self.queue(Message::Flush(sent)) {
            wait.recv_timeout(FLUSH_TIMEOUT).ok();
        }
    }

    fn notify(&self, variables: String) {
        self.queue(Message::Notify(variables));
    }

    /// Queues a message, unless the queue is full or nobody is to be notified.
    fn queue(&self, message: Message) -> bool {
        self.0.as_ref().is_some_and(|queue| queue.try_send(message).is_ok())
    }
}

/// A reload that is in progress.
#[derive(Debug)]
pub(super) struct Reloading(ServiceManager);

impl Drop for Reloading {
    fn drop(&mut self) {
        self.0.ready();
    }
}

impl Request {
    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let socket = variable("NOTIFY_SOCKET").filter(|socket| !socket.is_empty())?;
        let number = |name| variable(name)?.to_str()?.trim().parse::<u64>().ok();
        let is_ours = variable("WATCHDOG_PID").is_none()
            || number("WATCHDOG_PID") == Some(u64::from(std::process::id()));
        let interval = number("WATCHDOG_USEC").filter(|interval| *interval > 0 && is_ours);
        Some(Self { socket, watchdog: interval.map(Duration::from_micros) })
    }
}

/// Sends messages. Twice in each interval of the watchdog it sends a ping, if the runtime has run the task that it was
/// given after the ping before.
fn run(socket: &UnixDatagram, request: &Request, messages: &Receiver<Message>, runtime: &Handle) {
    let mut works = true;
    let mut send = |variables: &str| {
        let sent = address(&request.socket)
            .and_then(|address| socket.send_to_addr(variables.as_bytes(), &address).map(drop));
        if let Err(error) = &sent
            && works
        {
            let socket = request.socket.display();
            tracing::warn!(err = %error, "Cannot notify the service manager at NOTIFY_SOCKET {socket}");
        }
        works = sent.is_ok();
    };
    let (mut next, answered) = (Instant::now(), Arc::new(AtomicBool::new(true)));
    let mut stops = false;
    loop {
        let message = match request.watchdog {
            None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(_) => messages.recv_timeout(next.saturating_duration_since(Instant::now())),
        };
        match message {
            // A start or a reload that a stop has interrupted.
            Ok(Message::Notify(variables)) if stops && !variables.starts_with("STATUS=") => {}
            Ok(Message::Notify(variables)) => {
                stops |= variables == STOPPING;
                send(&variables);
            }
            Ok(Message::Flush(sent)) => drop(sent.send(())),
            Err(RecvTimeoutError::Timeout) => {
                next = Instant::now() + request.watchdog.unwrap_or_default() / 2;
                if answered.swap(false, Ordering::Relaxed) {
                    send("WATCHDOG=1");
                    let answered = Arc::clone(&answered);
                    runtime.spawn(async move { answered.store(true, Ordering::Relaxed) });
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Returns the address of a socket: a path, or the name of an abstract socket after `@`.
fn address(socket: &OsStr) -> io::Result<SocketAddr> {
    match socket.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(socket),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is neither a path nor an abstract name")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tokio::runtime::Runtime;

    use super::*;

    /// A service manager that waits for messages at a path.
    struct Receiver {
        directory: tempfile::TempDir,
        socket: UnixDatagram,
    }

    impl Receiver {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
            Self { directory, socket }
        }

        fn request(&self, watchdog: Option<Duration>) -> Request {
            Request { socket: self.directory.path().join("notify").into(), watchdog }
        }

        /// The next message, unless none comes within `patience`.
        fn next(&self, patience: Duration) -> Option<String> {
            self.socket.set_read_timeout(Some(patience)).unwrap();
            let mut buffer = [0; 1024];
            let length = self.socket.recv(&mut buffer).ok()?;
            Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
        }

        /// The next messages, after which no other has arrived.
        fn all(&self, count: usize) -> Vec<String> {
            let messages = (0..count).map(|_| self.next(SOON).unwrap()).collect();
            assert_eq!(self.next(Duration::from_millis(1)), None);
            messages
        }
    }

    const SOON: Duration = Duration::from_secs(30);
    const INTERVAL: Duration = Duration::from_millis(20);

    fn runtime() -> Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap()
    }

    #[test]
    fn messages_arrive_in_order_and_a_status_is_one_line() {
        let (receiver, runtime) = (Receiver::new(), runtime());
        let service = ServiceManager::start(receiver.request(None), runtime.handle().clone()).unwrap();
        service.status("1 account\nMAINPID=1");
        drop(service.reloading());
        service.stopping();
        service.flush();
        let mut messages = receiver.all(4).into_iter();
        assert_eq!(messages.next().unwrap(), "STATUS=1 account MAINPID=1");
        let reloading = messages.next().unwrap();
        let microseconds = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        let uptime: f64 =
            std::fs::read_to_string("/proc/uptime").unwrap().split(' ').next().unwrap().parse().unwrap();
        assert!(
            (microseconds.parse::<f64>().unwrap() / 1e6 - uptime).abs() < 60.0,
            "{microseconds}, {uptime} s"
        );
        assert_eq!(messages.collect::<Vec<_>>(), ["READY=1", "STOPPING=1"]);
    }

    #[test]
    fn a_reload_that_a_stop_interrupts_does_not_end_after_it_and_none_begins() {
        let (receiver, runtime) = (Receiver::new(), runtime());
        let service = ServiceManager::start(receiver.request(None), runtime.handle().clone()).unwrap();
        let reloading = service.reloading();
        service.stopping();
        drop(reloading);
        for status in ["stops", "stops soon"] {
            service.status(status);
            drop(service.reloading());
        }
        service.flush();
        let mut messages = receiver.all(4).into_iter();
        assert!(messages.next().unwrap().starts_with("RELOADING=1"));
        assert_eq!(messages.collect::<Vec<_>>(), ["STOPPING=1", "STATUS=stops", "STATUS=stops soon"]);
    }

    #[test]
    fn the_watchdog_is_pinged_as_long_as_a_worker_of_the_runtime_runs_tasks() {
        let (receiver, runtime) = (Receiver::new(), runtime());
        let _service =
            ServiceManager::start(receiver.request(Some(INTERVAL)), runtime.handle().clone()).unwrap();
        let ping = |patience| receiver.next(patience).as_deref() == Some("WATCHDOG=1");
        let (started, starts) = mpsc::channel();
        let mut blocked = Vec::new();
        for workers_left in [1, 0] {
            assert!(ping(SOON) && ping(SOON), "no pings with {} workers", workers_left + 1);
            let (release, wait) = mpsc::channel::<()>();
            let started = started.clone();
            runtime.spawn(async move {
                started.send(()).unwrap();
                wait.recv().ok();
            });
            starts.recv_timeout(SOON).unwrap();
            blocked.push(release);
        }
        // Pings from before may still arrive.
        let is_silent = (0..20).any(|_| !ping(20 * INTERVAL));
        assert!(is_silent, "pings from a runtime that runs nothing");
        drop(blocked);
        assert!(ping(SOON) && ping(SOON), "no pings after the workers went on");
    }

    #[test]
    fn the_watchdog_of_another_process_is_not_pinged() {
        let own = std::process::id().to_string();
        for (variables, interval) in [
            (&[("WATCHDOG_USEC", "3000000")][..], Some(3)),
            (&[("WATCHDOG_USEC", "3000000"), ("WATCHDOG_PID", &own)], Some(3)),
            (&[("WATCHDOG_USEC", "3000000"), ("WATCHDOG_PID", "1")], None),
            (&[("WATCHDOG_USEC", "3000000"), ("WATCHDOG_PID", "")], None),
            (&[("WATCHDOG_USEC", "0")], None),
            (&[("WATCHDOG_USEC", "soon")], None),
            (&[], None),
        ] {
            let variables: HashMap<_, _> =
                variables.iter().copied().chain([("NOTIFY_SOCKET", "/x")]).collect();
            let request = Request::from_variables(|name| variables.get(name).map(OsString::from)).unwrap();
            assert_eq!(request.watchdog, interval.map(Duration::from_secs), "{variables:?}");
        }
        for socket in [None, Some("")] {
            assert!(Request::from_variables(|_| socket.map(OsString::from)).is_none());
        }
    }

    #[test]
    fn a_socket_that_is_full_loses_messages_and_blocks_nobody() {
        let (receiver, runtime) = (Receiver::new(), runtime());
        let service = ServiceManager::start(receiver.request(None), runtime.handle().clone()).unwrap();
        let before = Instant::now();
        for _ in 0..100_000 {
            service.ready();
        }
        service.flush();
        assert!(before.elapsed() < Duration::from_secs(5), "waited for {:?}", before.elapsed());
        assert_eq!(receiver.next(SOON).as_deref(), Some("READY=1"));
    }

    #[test]
    fn a_socket_is_a_path_or_an_abstract_name() {
        assert_eq!(address(OsStr::new("/run/x")).unwrap().as_pathname(), Some("/run/x".as_ref()));
        #[cfg(target_os = "linux")]
        assert_eq!(address(OsStr::new("@x/y")).unwrap().as_abstract_name(), Some(&b"x/y"[..]));
        for socket in ["vsock:2:1234", "relative", ""] {
            assert_eq!(
                address(OsStr::new(socket)).unwrap_err().kind(),
                io::ErrorKind::InvalidInput,
                "{socket}"
            );
        }
    }
}
