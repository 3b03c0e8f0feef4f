//! A real headless browser, controlled over two pipes by its debugging protocol.
//!
//! The pipes are the browser's descriptors 3 and 4; each message ends with a NUL. A tab has cookies, cache and storage
//! of its own. Events of the browser are collected from before a page is opened.

#![allow(dead_code, unreachable_pub, reason = "each test program uses its own part")]
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead, BufReader, PipeWriter, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use command_fds::{CommandFdExt, FdMapping};
use serde_json::{Value, json};

use crate::support::{Process, TIMEOUT};

pub struct Browser {
    commands: PipeWriter,
    messages: Receiver<Value>,
    next_id: u64,
    // The order of these fields matters: the process must end before its directory is removed.
    _process: Process,
    _profile: tempfile::TempDir,
}

/// The screen on which a page is shown.
#[derive(Clone, Copy)]
pub struct Screen {
    pub width: u32,
    pub height: u32,
    pub dark: bool,
}

/// An open page.
pub struct Tab<'a> {
    browser: &'a mut Browser,
    session: String,
    events: Vec<Value>,
}

impl Browser {
    pub fn start(program: &Path) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let (its_commands, commands) = std::io::pipe().unwrap();
        let (messages, its_messages) = std::io::pipe().unwrap();
        let mut command = Command::new(program);
        command
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--hide-scrollbars", "--no-proxy-server", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .fd_mappings(vec![
                FdMapping { parent_fd: OwnedFd::from(its_commands), child_fd: 3 },
                FdMapping { parent_fd: OwnedFd::from(its_messages), child_fd: 4 },
            ])
            .unwrap();
        let process = Process::start(&mut command);
        // The command holds copies of the browser's pipe ends; while they are open, the end of the browser is not seen.
        drop(command);
        let (sender, receiver) = channel();
        thread::spawn(move || {
            for message in BufReader::new(messages).split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else { return };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Self { commands, messages: receiver, next_id: 0, _process: process, _profile: profile }
    }

    /// Opens a page in a new tab and waits until it is loaded.
    pub fn open(&mut self, url: &str, screen: Screen) -> Tab<'_> {
        let mut tab = self.blank(screen);
        tab.load(url);
        tab
    }

    /// Opens an empty tab, to be set up before a page is loaded.
    pub fn blank(&mut self, screen: Screen) -> Tab<'_> {
        let mut none = Vec::new();
        let context = self.call(None, "Target.createBrowserContext", &json!({}), &mut none);
        let target = json!({ "url": "about:blank", "browserContextId": context["browserContextId"] });
        let target = self.call(None, "Target.createTarget", &target, &mut none);
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = self.call(None, "Target.attachToTarget", &attach, &mut none);
        let session = attached["sessionId"].as_str().unwrap().to_owned();
        let mut tab = Tab { browser: self, session, events: Vec::new() };
        for domain in ["Page", "Runtime", "Log", "Network", "Audits"] {
            tab.call(&format!("{domain}.enable"), &json!({}));
        }
        tab.call("Page.setLifecycleEventsEnabled", &json!({ "enabled": true }));
        let Screen { width, height, dark } = screen;
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        tab.call("Emulation.setDeviceMetricsOverride", &metrics);
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        tab.call("Emulation.setEmulatedMedia", &media);
        tab
    }

    /// Sends a command and waits for its result; events that arrive in between are added to `events`.
    fn call(
        &mut self,
        session: Option<&str>,
        method: &str,
        params: &Value,
        events: &mut Vec<Value>,
    ) -> Value {
        self.next_id += 1;
        let mut message = json!({ "id": self.next_id, "method": method, "params": params });
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        self.commands.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let mut answer = self.receive(method);
            if answer["id"] == self.next_id {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].take();
            }
            events.push(answer);
        }
    }

    fn receive(&self, wanted: &str) -> Value {
        self.messages.recv_timeout(TIMEOUT).unwrap_or_else(|error| panic!("no message {wanted}: {error}"))
    }
}

impl Tab<'_> {
    pub fn call(&mut self, method: &str, params: &Value) -> Value {
        self.browser.call(Some(&self.session), method, params, &mut self.events)
    }

    pub fn load(&mut self, url: &str) {
        let answer = self.call("Page.navigate", &json!({ "url": url }));
        assert!(answer["errorText"].is_null(), "{url}: {}", answer["errorText"]);
        // The page before, and other tabs, have such an event, too.
        let is_loaded = |event: &Value| {
            event["params"]["name"] == "load" && event["params"]["loaderId"] == answer["loaderId"]
        };
        while !self.events.iter().any(is_loaded) {
            let message = self.browser.receive("about the load");
            self.events.push(message);
        }
    }

    /// The value of a JavaScript expression, which may be a promise.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let call = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut answer = self.call("Runtime.evaluate", &call);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].take()
    }

    /// The value of an expression that is a string.
    pub fn text(&mut self, expression: &str) -> String {
        let value = self.evaluate(expression);
        value.as_str().unwrap_or_else(|| panic!("{expression} is not a string: {value}")).to_owned()
    }

    /// The problems that the browser has reported so far: console messages, exceptions, policy violations, other
    /// issues.
    pub fn problems(&mut self) -> Vec<String> {
        // Whatever an element causes has been reported two frames later.
        self.evaluate(
            "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))",
        );
        let kinds =
            ["Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded", "Audits.issueAdded"];
        let is_problem = |event: &&Value| kinds.iter().any(|kind| event["method"] == *kind);
        self.events.iter().filter(is_problem).map(ToString::to_string).collect()
    }

    /// The URLs that the page has requested.
    pub fn requests(&self) -> Vec<String> {
        let sent = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.map(|event| event["params"]["request"]["url"].as_str().unwrap().to_owned()).collect()
    }

    /// A screenshot: a PNG in Base64.
    pub fn screenshot(&mut self) -> String {
        let mut screenshot = self.call("Page.captureScreenshot", &json!({ "format": "png" }));
        let Value::String(screenshot) = screenshot["data"].take() else { panic!("no screenshot") };
        screenshot
    }

    /// The accessibility tree: role and name of every node that is not ignored, in reading order.
    pub fn accessibility(&mut self) -> Vec<(String, String)> {
        let tree = self.call("Accessibility.getFullAXTree", &json!({}));
        let text = |value: &Value| value["value"].as_str().unwrap_or_default().to_owned();
        let nodes = tree["nodes"].as_array().unwrap().iter().filter(|node| node["ignored"] != true);
        nodes.map(|node| (text(&node["role"]), text(&node["name"]))).collect()
    }
}

impl Drop for Tab<'_> {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.call("Page.close", &json!({}));
        }
    }
}
