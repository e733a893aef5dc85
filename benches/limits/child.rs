//! Child processes of this program that run a part of a bench. They receive a command per line.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use console::print_stdout;

use crate::rounds::variable;

/// A child process, which ends when this is dropped.
pub struct Child {
    process: std::process::Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Child {
    /// Starts this program in another role and waits until it is ready.
    pub fn start(role: &str, arguments: &[&str]) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .args(arguments)
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().expect("its output"));
        let mut child = Self { process, input, output };
        assert_eq!(child.receive(), READY);
        child
    }

    /// Sends a command.
    pub fn send(&mut self, command: &str) {
        let input = self.input.as_mut().expect("its input");
        writeln!(input, "{command}").expect("a process that reads");
    }

    /// Waits for the reply to a command.
    pub fn receive(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a process that answers");
        line.trim_end().to_owned()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // The process ends at the end of its input.
        self.input = None;
        let _ = self.process.wait();
    }
}

/// Returns the role of this process, if it is a child.
pub fn role() -> Option<String> {
    variable(ROLE)
}

/// Runs a child process: replies to each command on standard input.
pub async fn serve(mut handle: impl AsyncFnMut(&str) -> String) {
    print_stdout(&READY);
    // Blocking is fine: the main thread is not a worker of the runtime.
    for line in std::io::stdin().lines() {
        print_stdout(&handle(&line.expect("a line")).await);
    }
}

const ROLE: &str = "EDDYLINE_BENCH_ROLE";
const READY: &str = "ready";
