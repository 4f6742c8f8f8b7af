//! A media worker in small around [`Peers`]: the socket, the clock, and a tone for every leg.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use foredial::id::LegId;
use foredial::media::g711::Law;
use foredial::media::packet::RtpPacket;
use foredial::peer::{Dropped, LinkState, PeerError, PeerEvent, Peers, PeersConfig, PeersSnapshot};

use super::ear::{Arrival, Heard, Tone};

type Task = Box<dyn FnOnce(&mut Worker) + Send>;

pub struct Worker {
    pub peers: Peers,
    socket: UdpSocket,
    speaking: Vec<(LegId, f64, Tone, u16)>,
    events: VecDeque<(Instant, PeerEvent)>,
    next_packet: Instant,
}

pub struct Bench {
    pub address: SocketAddr,
    tasks: Option<Sender<Task>>,
    thread: Option<JoinHandle<()>>,
}

impl Bench {
    pub fn start() -> Bench {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a loopback port");
        socket
            .set_read_timeout(Some(Duration::from_millis(2)))
            .expect("a time-out");
        let address = socket.local_addr().expect("bound");
        let (tasks, inbox) = channel();
        let config = PeersConfig {
            local: address,
            advertised: vec![],
        };
        let peers = Peers::new(config, 7).expect("a certificate");
        let worker = Worker {
            peers,
            socket,
            speaking: Vec::new(),
            events: VecDeque::new(),
            next_packet: Instant::now(),
        };
        let thread = std::thread::spawn(move || worker.run(&inbox));
        Bench {
            address,
            tasks: Some(tasks),
            thread: Some(thread),
        }
    }

    pub fn ask<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Worker) -> T + Send + 'static,
    ) -> T {
        let (reply, answer) = channel();
        let task: Task = Box::new(move |worker| {
            // The asker waits for it.
            let _ = reply.send(task(worker));
        });
        self.tasks
            .as_ref()
            .expect("running")
            .send(task)
            .expect("running");
        answer.recv().expect("the worker answers")
    }

    pub fn offer(&self, leg: LegId, sdp: String, law: Law) -> Result<String, PeerError> {
        self.ask(move |worker| worker.peers.offer(Instant::now(), leg, &sdp, law))
    }

    pub fn speak(&self, leg: LegId, hz: f64) {
        self.ask(move |worker| {
            worker.speaking.retain(|(other, ..)| *other != leg);
            worker.speaking.push((leg, hz, Tone::default(), 65_500));
        });
    }

    pub fn snapshot(&self) -> PeersSnapshot {
        self.ask(|worker| worker.peers.snapshot())
    }

    pub fn dropped(&self) -> Dropped {
        self.snapshot().dropped
    }

    pub fn link(&self, leg: LegId) -> Option<LinkState> {
        self.snapshot()
            .legs
            .iter()
            .find(|it| it.leg == leg)
            .map(|it| it.link)
    }

    /// What one leg's browser is heard to say over this long.
    pub async fn hear(&self, leg: LegId, window: Duration) -> Heard {
        self.ask(|worker| worker.events.clear());
        tokio::time::sleep(window).await;
        self.ask(move |worker| {
            let mut heard = Heard::default();
            for (at, event) in &worker.events {
                let PeerEvent::Rtp { leg: from, packet } = event else {
                    continue;
                };
                if *from == leg {
                    heard.hear(&Arrival {
                        at: *at,
                        payload_type: packet.payload_type,
                        sequence: packet.sequence,
                        marker: packet.marker,
                        ssrc: packet.ssrc,
                        payload: &packet.payload,
                    });
                }
            }
            heard
        })
    }

    pub async fn wait(&self, wanted: PeerEvent) -> bool {
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            let wanted = wanted.clone();
            if self.ask(move |worker| worker.events.iter().any(|(_, event)| *event == wanted)) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        false
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.tasks.take();
        if let Some(thread) = self.thread.take() {
            // A panic of the worker has already failed the test that asked it.
            let _ = thread.join();
        }
    }
}

impl Worker {
    fn run(mut self, inbox: &Receiver<Task>) {
        let mut bytes = [0; 2_048];
        loop {
            match inbox.try_recv() {
                Ok(task) => task(&mut self),
                Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => {}
            }
            if let Ok((length, from)) = self.socket.recv_from(&mut bytes) {
                self.peers
                    .handle_datagram(Instant::now(), from, &bytes[..length]);
            }
            let now = Instant::now();
            self.peers.handle_timeout(now);
            assert!(
                self.peers
                    .poll_timeout()
                    .is_none_or(|deadline| deadline > now)
            );
            while now >= self.next_packet {
                self.next_packet += Duration::from_millis(20);
                self.speak(now);
            }
            while let Some((to, bytes)) = self.peers.poll_transmit() {
                self.socket.send_to(&bytes, to).expect("loopback takes it");
            }
            while let Some(event) = self.peers.poll_event() {
                self.events.push_back((now, event));
            }
        }
    }

    fn speak(&mut self, now: Instant) {
        for (leg, hz, tone, sequence) in &mut self.speaking {
            let law = self.peers.law(*leg).unwrap_or(Law::Mu);
            let payload = law.encode_all(&tone.packet(*hz, super::browser::AMPLITUDE));
            let packet = RtpPacket {
                payload_type: 127,
                marker: false,
                sequence: *sequence,
                timestamp: u32::from(*sequence) * 160,
                ssrc: 1,
                payload: payload.into(),
            };
            *sequence = sequence.wrapping_add(1);
            self.peers.send(now, *leg, &packet);
        }
    }
}
