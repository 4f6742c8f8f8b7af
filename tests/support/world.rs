//! A whole switch on a virtual clock: the real switch and the real store (SQLite in memory),
//! a far end and browsers played by text, and a wire that takes 5 ms. Nothing here waits for
//! real time; an hour passes in milliseconds.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foredial::dialer::campaign as rules;
use foredial::engine::handle::{AgentCommand, Problem};
use foredial::engine::media_worker::{MediaCommand, MediaFact};
use foredial::engine::resolved::{AgentProfile, Campaign, Choice, EngineConfig, Limits, Trunk};
use foredial::engine::switch::ReplyId;
use foredial::engine::{Input, Output, Switch};
use foredial::id::{AgentId, CallId, CampaignId, LeadId, LegId, ListId, TrunkId};
use foredial::leads::row::{Phone, PhoneKind, Row};
use foredial::now::{Now, UtcMs};
use foredial::sip::{EndpointConfig, Flow, Transport};
use foredial::store::fact::LeadView;
use foredial::store::{self, Db, Fact};
use foredial::trunk::Place;
use serde_json::Value;

use super::far_end::FarEnd;
use super::wire::{Letter, register_with};

const WIRE: Duration = Duration::from_millis(5);
const COMMIT: Duration = Duration::from_millis(2);
/// Wednesday 2026-11-18 02:00 UTC: ten in the morning in Shanghai.
const START: UtcMs = UtcMs(1_794_967_200_000);
pub const TRUNK: &str = "127.0.0.9:5060";
pub const SWITCH: &str = "127.0.0.1:5060";

#[allow(clippy::enum_variant_names, reason = "each says at whom it arrives")]
enum Arrival {
    AtSwitch(Input),
    AtFarEnd(std::net::SocketAddr, Vec<u8>),
    AtStore(u64, Box<store::Command>),
}

pub struct World {
    pub now: Now,
    pub switch: Switch,
    pub db: Db,
    pub far: FarEnd,
    pub desks: HashMap<AgentId, Value>,
    pub media: Vec<MediaCommand>,
    /// Everything the switch sent to the trunk, first lines only.
    pub sent: Vec<String>,
    /// The same, whole.
    pub letters: Vec<String>,
    config: EngineConfig,
    replies: HashMap<ReplyId, Result<(), Problem>>,
    arrivals: BTreeMap<(Instant, u64), Arrival>,
    browsers: HashMap<u64, Browser>,
    /// Desk phones, each with what has come for it.
    phones: HashMap<SocketAddr, VecDeque<Letter>>,
    next: u64,
}

/// A page's SIP side: one flow, one seat.
struct Browser {
    agent: AgentId,
    call_id: String,
}

pub fn agent(name: &str) -> AgentId {
    AgentId::new(name)
}

/// Leads called by these numbers, in Shanghai, in this order.
pub fn world(numbers: &[&str]) -> World {
    let rows = numbers
        .iter()
        .enumerate()
        .map(|(at, number)| row(at, &[number]))
        .collect();
    World::new(rows)
}

pub fn row(at: usize, numbers: &[&str]) -> Row {
    Row {
        line: at as u64 + 2,
        external_id: Some(format!("L{at:04}")),
        name: format!("Customer {at}"),
        language: "en".to_owned(),
        phones: numbers
            .iter()
            .map(|number| Phone {
                e164: (*number).to_owned(),
                kind: PhoneKind::Mobile,
                time_zones: vec!["Asia/Shanghai".to_owned()],
            })
            .collect(),
        ..Row::default()
    }
}

/// The same, with these trunks tried in this order.
pub fn world_of_trunks(numbers: &[&str], trunks: Vec<Trunk>) -> World {
    let rows = numbers
        .iter()
        .enumerate()
        .map(|(at, number)| row(at, &[number]))
        .collect();
    World::over(rows, config_of(trunks))
}

/// The same, with the configuration changed as it is read at the start.
pub fn world_as(numbers: &[&str], change: impl FnOnce(&mut EngineConfig)) -> World {
    let rows = numbers.iter().enumerate();
    let rows = rows.map(|(at, number)| row(at, &[number])).collect();
    let mut config = config();
    change(&mut config);
    World::over(rows, config)
}

/// The same, with this many media workers.
pub fn world_on(numbers: &[&str], workers: usize) -> World {
    let rows = numbers.iter().enumerate();
    let rows = rows.map(|(at, number)| row(at, &[number])).collect();
    World::on(rows, config(), workers)
}

impl World {
    pub fn new(rows: Vec<Row>) -> World {
        World::over(rows, config())
    }

    fn over(rows: Vec<Row>, config: EngineConfig) -> World {
        World::on(rows, config, 1)
    }

    fn on(rows: Vec<Row>, config: EngineConfig, workers: usize) -> World {
        let now = Now {
            instant: Instant::now(),
            utc: START,
        };
        let mut db = Db::open(&store::Place::Memory).expect("SQLite in memory");
        let rules = Arc::new(config.rules());
        db.apply(now.utc, &store::Command::Configure { rules })
            .expect("rules");
        let import = store::Command::Import {
            list: ListId::new("list"),
            campaign: CampaignId::new("c"),
            rows,
            source: "world".to_owned(),
        };
        db.apply(now.utc, &import).expect("import");
        let switch = Switch::new(now, config.clone(), workers);
        World {
            now,
            switch,
            db,
            far: FarEnd::new(TRUNK),
            desks: HashMap::new(),
            media: Vec::new(),
            sent: Vec::new(),
            letters: Vec::new(),
            config,
            replies: HashMap::new(),
            arrivals: BTreeMap::new(),
            browsers: HashMap::new(),
            phones: HashMap::new(),
            next: 1,
        }
    }

    /// The process dies and starts again on the same database; what was on the wire still arrives.
    pub fn crash(&mut self) {
        self.arrivals.retain(|_, arrival| {
            matches!(arrival, Arrival::AtFarEnd(..))
                || matches!(arrival, Arrival::AtSwitch(Input::Sip { flow, .. }) if flow.transport == Transport::Udp)
        });
        self.browsers.clear();
        self.desks.clear();
        self.config.seed += 1;
        self.switch = Switch::new(self.now, self.config.clone(), 1);
        let rules = Arc::new(self.config.rules());
        self.db
            .apply(self.now.utc, &store::Command::Configure { rules })
            .expect("rules");
        match self
            .db
            .apply(self.now.utc, &store::Command::Recover)
            .expect("recovery")
        {
            Fact::Recovered(recovered) => self.switch.restore(self.now, *recovered),
            other => panic!("recovery answered {other:?}"),
        }
        self.drain();
    }

    // --- what people do ---

    /// A page opens and takes the agent's seat.
    pub fn sit_down(&mut self, name: &str) -> u64 {
        let flow = self.open_page(name);
        self.run_for(Duration::from_millis(100));
        assert_eq!(
            self.desk(name)["seat"]["status"],
            "live",
            "{name} has no seat"
        );
        flow
    }

    pub fn open_page(&mut self, name: &str) -> u64 {
        let flow = self.number();
        let browser = Browser {
            agent: agent(name),
            call_id: format!("seat-{flow}"),
        };
        self.input(Input::Presence {
            agent: agent(name),
            tab: flow,
            present: true,
        });
        self.input(Input::SipOpened {
            flow,
            agent: agent(name),
        });
        let sdp = "v=0\r\n";
        let invite = format!(
            "INVITE sip:seat@foredial.invalid SIP/2.0\r\nVia: SIP/2.0/WS page.invalid;branch=z9hG4bK{flow}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{name}@foredial.invalid>;tag=b{flow}\r\n\
             To: <sip:seat@foredial.invalid>\r\nCall-ID: {}\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:{name}@page.invalid;transport=ws>\r\nContent-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{sdp}",
            browser.call_id,
            sdp.len()
        );
        self.browsers.insert(flow, browser);
        self.input(Input::Sip {
            flow: ws(flow),
            bytes: invite.into_bytes(),
        });
        flow
    }

    /// The page is gone: closed, crashed or reloading.
    pub fn close_page(&mut self, flow: u64) {
        let Some(browser) = self.browsers.remove(&flow) else {
            return;
        };
        self.input(Input::SipClosed { flow });
        self.input(Input::Presence {
            agent: browser.agent,
            tab: flow,
            present: false,
        });
    }

    /// A page without a voice of its own.
    pub fn look(&mut self, name: &str) -> u64 {
        let tab = self.number();
        self.input(Input::Presence {
            agent: agent(name),
            tab,
            present: true,
        });
        tab
    }

    /// A desk phone registers with the password `p`.
    pub fn register(&mut self, user: &str, at: SocketAddr) {
        self.phones.entry(at).or_default();
        self.phone_sends(at, &register_with((user, "p"), at, None));
        let challenge = self.phone_reads(at, "SIP/2.0 401");
        self.phone_sends(at, &register_with((user, "p"), at, Some(&challenge)));
        self.phone_reads(at, "SIP/2.0 200");
    }

    pub fn phone_sends(&mut self, at: SocketAddr, text: &str) {
        let flow = Flow {
            remote: at,
            ..udp()
        };
        let bytes = text.as_bytes().to_vec();
        self.later(WIRE, Arrival::AtSwitch(Input::Sip { flow, bytes }));
    }

    /// The next letter that begins with this; earlier others are thrown away.
    pub fn phone_reads(&mut self, at: SocketAddr, beginning: &str) -> Letter {
        let deadline = self.now.instant + Duration::from_secs(5);
        loop {
            while let Some(letter) = self.phones.entry(at).or_default().pop_front() {
                if letter.0.starts_with(beginning) {
                    return letter;
                }
            }
            assert!(self.now.instant < deadline, "no {beginning} for {at}");
            self.step(deadline);
        }
    }

    /// First lines of all that waits for the phone.
    pub fn phone_waits(&self, at: SocketAddr) -> Vec<String> {
        let letters = self.phones.get(&at).into_iter().flatten();
        letters
            .map(|letter| letter.first_line().to_owned())
            .collect()
    }

    pub fn ask(&mut self, name: &str, command: AgentCommand) -> Result<(), Problem> {
        let reply = self.ask_later(name, command);
        self.answer(reply)
    }

    /// Sends a command without waiting for its answer.
    pub fn ask_later(&mut self, name: &str, command: AgentCommand) -> ReplyId {
        let reply = ReplyId(self.number());
        self.input(Input::Command {
            agent: agent(name),
            command,
            reply,
        });
        reply
    }

    pub fn answer(&mut self, reply: ReplyId) -> Result<(), Problem> {
        let deadline = self.now.instant + Duration::from_secs(5);
        while !self.replies.contains_key(&reply) {
            assert!(self.now.instant < deadline, "no answer to a command");
            self.step(deadline);
        }
        self.replies.remove(&reply).expect("just seen")
    }

    /// READY, and a card comes.
    pub fn next_card(&mut self, name: &str) -> u64 {
        self.ask(name, AgentCommand::Ready).expect("ready");
        self.until("a card", |world| world.desk(name)["card"].is_object());
        self.token(name)
    }

    pub fn token(&self, name: &str) -> u64 {
        self.desk(name)["card"]["token"]
            .as_u64()
            .expect("a card on the desk")
    }

    pub fn dial(&mut self, name: &str) -> Result<(), Problem> {
        let command = AgentCommand::Dial {
            token: self.token(name),
            key: self.key(),
            phone: None,
        };
        self.ask(name, command)
    }

    pub fn dispose(&mut self, name: &str, disposition: &str) -> Result<(), Problem> {
        let command = AgentCommand::Dispose {
            token: self.token(name),
            key: self.key(),
            disposition: disposition.to_owned(),
            notes: String::new(),
            callback_at_ms: None,
        };
        self.ask(name, command)
    }

    pub fn key(&mut self) -> uuid::Uuid {
        uuid::Uuid::from_u128(u128::from(self.number()))
    }

    /// A new configuration, as `foredial ctl reload` hands it down.
    pub fn reload(&mut self, change: impl FnOnce(&mut EngineConfig)) {
        change(&mut self.config);
        self.input(Input::Reload(Box::new(self.config.clone())));
        self.run_for(Duration::from_millis(50));
    }

    // --- what can be seen ---

    pub fn desk(&self, name: &str) -> &Value {
        self.desks.get(&agent(name)).unwrap_or(&Value::Null)
    }

    pub fn state(&self, name: &str) -> &str {
        self.desk(name)["state"]["kind"]
            .as_str()
            .unwrap_or_default()
    }

    pub fn call_state(&self, name: &str) -> &str {
        self.desk(name)["call"]["state"]
            .as_str()
            .unwrap_or_default()
    }

    pub fn result(&self, name: &str) -> &str {
        self.desk(name)["call"]["result"]
            .as_str()
            .unwrap_or_default()
    }

    /// How many messages of this method went to the trunk.
    pub fn sent(&self, method: &str) -> usize {
        self.sent
            .iter()
            .filter(|line| line.starts_with(&format!("{method} ")))
            .count()
    }

    pub fn lead(&self, id: u64) -> LeadView {
        let lead = self
            .db
            .view(self.now.utc)
            .lead(LeadId(id), &agent("nobody"));
        lead.expect("a readable store").expect("a lead")
    }

    pub fn busy_legs(&self) -> u64 {
        self.switch.snapshot()["rtp_ports_in_use"]
            .as_u64()
            .expect("a count")
    }

    // --- time ---

    pub fn run_for(&mut self, span: Duration) {
        let end = self.now.instant + span;
        while self.now.instant < end {
            self.step(end);
        }
    }

    pub fn until(&mut self, what: &str, done: impl Fn(&World) -> bool) {
        let deadline = self.now.instant + Duration::from_secs(120);
        while !done(self) {
            assert!(self.now.instant < deadline, "waited two minutes for {what}");
            self.step(deadline);
        }
    }

    /// To the next thing that happens, or to `end`.
    fn step(&mut self, end: Instant) {
        self.drain();
        let arrival = self.arrivals.keys().next().map(|(at, _)| *at);
        let timer = self.switch.poll_timeout(self.now).map(|(at, _)| at);
        let next = [arrival, timer, self.far.poll_timeout()]
            .into_iter()
            .flatten()
            .min();
        let at = next.unwrap_or(end).min(end).max(self.now.instant);
        self.now = self.now.plus(at - self.now.instant);
        while let Some(entry) = self
            .arrivals
            .first_entry()
            .filter(|entry| entry.key().0 <= at)
        {
            let arrival = entry.remove();
            self.arrive(arrival);
        }
        self.far.timeout(at);
        if self
            .switch
            .poll_timeout(self.now)
            .is_some_and(|(due, _)| due <= at)
        {
            self.switch.handle_timeout(self.now);
            let still = self.switch.poll_timeout(self.now);
            assert!(
                still.is_none_or(|(due, _)| due > at),
                "{still:?} is due after its time-out"
            );
        }
        self.drain();
    }

    fn arrive(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::AtSwitch(input) => self.switch.handle(self.now, input),
            Arrival::AtFarEnd(at, bytes) => self.far.receive_at(self.now.instant, at, &bytes),
            Arrival::AtStore(id, command) => {
                let fact = self.db.apply(self.now.utc, &command);
                self.switch.handle(self.now, Input::Store { id, fact });
            }
        }
        self.drain();
    }

    pub fn input(&mut self, input: Input) {
        self.switch.handle(self.now, input);
        self.drain();
    }

    fn later(&mut self, after: Duration, arrival: Arrival) {
        let order = self.number();
        self.arrivals
            .insert((self.now.instant + after, order), arrival);
    }

    fn drain(&mut self) {
        while let Some(output) = self.switch.poll_output() {
            match output {
                Output::Sip { flow, bytes } if self.phones.contains_key(&flow.remote) => {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    let letters = self.phones.entry(flow.remote).or_default();
                    letters.push_back(Letter(text));
                }
                Output::Sip { flow, bytes } if flow.transport == Transport::Udp => {
                    let text = String::from_utf8_lossy(&bytes);
                    self.sent
                        .push(text.lines().next().unwrap_or_default().to_owned());
                    self.letters.push(text.into_owned());
                    self.later(WIRE, Arrival::AtFarEnd(flow.remote, bytes));
                }
                Output::Sip { flow, bytes } => self.page_receives(flow.id, &bytes),
                Output::Media(command) => self.media_command(command),
                Output::Store { id, command } => {
                    self.later(COMMIT, Arrival::AtStore(id, Box::new(command)));
                }
                Output::Desk { agent, update } => {
                    self.desks.insert(agent, update.desk);
                }
                Output::Reply { reply, result } => {
                    self.replies.insert(reply, result);
                }
                // There are no streams on this wire.
                Output::FetchCrm(_) | Output::SipConnect { .. } | Output::Resolve { .. } => {}
            }
        }
        for (remote, text) in std::mem::take(&mut self.far.out) {
            let flow = Flow { remote, ..udp() };
            let input = Input::Sip {
                flow,
                bytes: text.into_bytes(),
            };
            self.later(WIRE, Arrival::AtSwitch(input));
        }
    }

    fn media_command(&mut self, command: MediaCommand) {
        let fact = |fact| Arrival::AtSwitch(Input::Media(fact));
        match &command {
            MediaCommand::OpenBrowser { leg, .. } => {
                let leg = *leg;
                let sdp = "v=0\r\n".to_owned();
                self.later(WIRE, fact(MediaFact::BrowserAnswer { leg, sdp }));
                self.later(WIRE * 4, fact(MediaFact::BrowserConnected { leg }));
            }
            // Only what was begun comes to an end.
            MediaCommand::StopRecording { call } if self.records(*call) => {
                let path = PathBuf::from(format!("recordings/{call}.wav"));
                let done = MediaFact::Recorded {
                    call: *call,
                    path,
                    duration_ms: 1_000,
                    bytes: 32_044,
                    gap_ms: 0,
                    sha256: None,
                };
                self.later(WIRE, fact(done));
            }
            _ => {}
        }
        self.media.push(command);
    }

    fn records(&self, asked: CallId) -> bool {
        let of = |command: &MediaCommand| matches!(command, MediaCommand::Record { call, .. } if *call == asked);
        self.media.iter().any(of)
    }

    /// JsSIP's part: the ACK of the seat's 200, and 200 to a BYE.
    fn page_receives(&mut self, flow: u64, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let Some(browser) = self.browsers.get(&flow) else {
            return;
        };
        let value = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(&format!("{name}: ")))
                .unwrap_or_default()
                .to_owned()
        };
        if text.starts_with("SIP/2.0 200") && value("CSeq") == "1 INVITE" {
            let ack = format!(
                "ACK sip:seat@foredial.invalid SIP/2.0\r\nVia: SIP/2.0/WS page.invalid;branch=z9hG4bKa{flow}\r\n\
                 Max-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 1 ACK\r\n\
                 Content-Length: 0\r\n\r\n",
                value("From"),
                value("To"),
                browser.call_id
            );
            self.later(
                WIRE,
                Arrival::AtSwitch(Input::Sip {
                    flow: ws(flow),
                    bytes: ack.into(),
                }),
            );
        } else if text.starts_with("BYE ") {
            let mut ok = "SIP/2.0 200 OK\r\n".to_owned();
            for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
                ok.push_str(&format!("{name}: {}\r\n", value(name)));
            }
            ok.push_str("Content-Length: 0\r\n\r\n");
            self.later(
                WIRE,
                Arrival::AtSwitch(Input::Sip {
                    flow: ws(flow),
                    bytes: ok.into(),
                }),
            );
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// What the given leg was last told to hear.
    pub fn hears(&self, leg: LegId) -> Option<foredial::engine::media_worker::Source> {
        self.media.iter().rev().find_map(|command| match command {
            MediaCommand::Listen { leg: of, to } if *of == leg => Some(*to),
            _ => None,
        })
    }
}

fn udp() -> Flow {
    let local = SWITCH.parse().expect("an address");
    Flow {
        id: 0,
        transport: Transport::Udp,
        local,
        remote: local,
    }
}

fn ws(id: u64) -> Flow {
    let local = "127.0.0.1:8443".parse().expect("an address");
    let remote = "127.0.0.1:50000".parse().expect("an address");
    Flow {
        id,
        transport: Transport::Ws,
        local,
        remote,
    }
}

/// One trunk, `t`, at [`TRUNK`].
pub fn config() -> EngineConfig {
    let places = vec![Place::At(TRUNK.parse().expect("an address"))];
    let mut trunk = Trunk::new(TrunkId::new("t"), places, TRUNK);
    trunk.terms.calls_max = 100;
    config_of(vec![trunk])
}

fn config_of(trunks: Vec<Trunk>) -> EngineConfig {
    let campaign = CampaignId::new("c");
    let route = |trunk: &Trunk| rules::Route {
        trunk: trunk.id.clone(),
        caller_id: "+862110000000".to_owned(),
    };
    let rules = rules::Campaign {
        routes: trunks.iter().map(route).collect(),
        ..rules::Campaign::new(campaign.clone())
    };
    let agents = (1..=60).map(|at| {
        let id = agent(&format!("agent{at}"));
        let profile = AgentProfile {
            id: id.clone(),
            name: format!("Agent {at}"),
            language: "en".to_owned(),
            campaigns: vec![campaign.clone()],
            seat: Default::default(),
        };
        (id, profile)
    });
    let shown = Campaign {
        id: campaign.clone(),
        rules,
        script_title: rules::Label::new("Script", "话术"),
        script: "Hello {{ name }}".to_owned(),
        fields: vec![],
        skip_reasons: vec![Choice {
            key: "bad_time".to_owned(),
            label: rules::Label::new("Bad time", "时间不合适"),
        }],
        mask_numbers: true,
        record: true,
        crm: false,
    };
    EngineConfig {
        endpoint: EndpointConfig::new(SWITCH.parse().expect("an address"), "foredial.invalid"),
        trunk_flow: udp(),
        ways: Default::default(),
        media_address: "127.0.0.1".parse().expect("an address"),
        rtp_ports: (10_000, 10_999),
        recordings: PathBuf::from("recordings"),
        trunks: trunks
            .into_iter()
            .map(|trunk| (trunk.id.clone(), trunk))
            .collect(),
        resolvers: vec![],
        plan: Default::default(),
        permit: Vec::new(),
        phones: vec![],
        keys: Default::default(),
        agents: agents.collect(),
        campaigns: BTreeMap::from([(campaign, Arc::new(shown))]),
        fraud: Default::default(),
        epoch: "world".to_owned(),
        seed: 1,
        limits: Limits::default(),
    }
}
