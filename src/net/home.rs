//! Where the SIP sockets live: the runtime of the one thread that also handles what they bring.
//! A datagram so costs one wake-up, and none of it is a thread waking another.

use std::io;

use tokio::runtime::{Builder, EnterGuard, Runtime};

/// Tasks that may run before the work of [`Home::run`] has its turn: however fast strangers send,
/// what was let in is handled in between.
const TASKS_A_TURN: u32 = 4;

/// Sockets made and tasks spawned between [`Home::enter`] and the drop of its guard are served by
/// the thread that calls [`Home::run`]; until then nothing is read.
#[derive(Debug)]
pub struct Home(Option<Runtime>);

impl Home {
    /// # Errors
    /// When the kernel gives no epoll.
    pub fn new() -> io::Result<Home> {
        let runtime = Builder::new_current_thread()
            .event_interval(TASKS_A_TURN)
            .enable_all()
            .build()?;
        Ok(Home(Some(runtime)))
    }

    #[must_use]
    pub fn enter(&self) -> Option<EnterGuard<'_>> {
        self.0.as_ref().map(Runtime::enter)
    }

    /// Runs `work` and everything spawned here on this thread, until `work` ends.
    pub fn run(&self, work: impl Future<Output = ()>) {
        if let Some(runtime) = &self.0 {
            runtime.block_on(work);
        }
    }
}

impl Drop for Home {
    /// A start that failed ends on another runtime, where none may be waited for.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::udp::SipUdp;

    #[tokio::test]
    async fn a_socket_bound_inside_is_read_by_the_thread_that_runs_the_home() {
        let home = Home::new().unwrap();
        let (sender, mut datagrams) = tokio::sync::mpsc::channel(8);
        let inside = home.enter();
        let socket = SipUdp::join("127.0.0.1:0".parse().unwrap(), 0, sender).unwrap();
        drop(inside);
        let outside = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        outside.send_to(b"OPTIONS", socket.local_addr()).unwrap();
        tokio::task::yield_now().await;
        assert!(datagrams.try_recv().is_err(), "nobody runs it yet");
        let (told, heard) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            home.run(async {
                let datagram = datagrams.recv().await.unwrap();
                let _ = told.send((datagram.bytes, std::thread::current().id()));
            });
        });
        let (bytes, on) = heard.await.unwrap();
        assert_eq!((bytes, on), (b"OPTIONS"[..].into(), thread.thread().id()));
        thread.join().unwrap();
    }

    #[tokio::test]
    async fn a_home_nobody_ran_may_end_inside_another_runtime() {
        drop(Home::new().unwrap());
    }
}
