//! The store's stories: each begins on Monday at eleven in the morning in Shanghai.

mod dialing;
mod inbound;
mod phones;
mod recovery;
mod stories;
mod storm;
mod wrap_up;
mod writing;

use std::sync::Arc;
use std::time::Duration;

use super::fact::{AttemptView, Finished, LeadView, Reservation};
use super::{AttemptStep, Command, Db, EndedBy, Fact, Place, Spans};
use crate::call::result::CallResult;
use crate::dialer::campaign::{Campaign, Route, Rules};
use crate::dialer::lead::LeadState;
use crate::id::{AgentId, AttemptId, CampaignId, FenceToken, LeadId, ListId, PhoneId, TrunkId};
use crate::leads::row::{Phone, PhoneKind, Row};
use crate::now::UtcMs;

pub(super) fn utc(text: &str) -> UtcMs {
    UtcMs(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

pub(super) fn morning() -> UtcMs {
    utc("2026-11-23T03:00:00Z")
}

pub(super) fn demo() -> Campaign {
    Campaign {
        routes: vec![Route {
            trunk: TrunkId::new("t"),
            caller_id: "+86100".to_owned(),
        }],
        config_version: "v1".to_owned(),
        ..Campaign::new(CampaignId::new("demo"))
    }
}

pub(super) fn row(line: u64, numbers: &[&str]) -> Row {
    let phone = |e164: &&str| Phone {
        e164: (*e164).to_owned(),
        kind: PhoneKind::Mobile,
        time_zones: vec!["Asia/Shanghai".to_owned()],
    };
    Row {
        line,
        external_id: Some(format!("L{line:04}")),
        name: format!("Lead {line}"),
        phones: numbers.iter().map(phone).collect(),
        fields: vec![("product".to_owned(), "空调".to_owned())],
        ..Row::default()
    }
}

/// Rows with one number each.
pub(super) fn rows(many: u64) -> Vec<Row> {
    (1..=many)
        .map(|n| row(n, &[&format!("+861380013{n:04}")]))
        .collect()
}

/// A store with a clock in its hand.
pub(super) struct House {
    pub db: Db,
    pub now: UtcMs,
    counter: u128,
}

impl House {
    pub fn with(campaigns: Vec<Campaign>, rows: Vec<Row>) -> House {
        let db = Db::open(&Place::Memory).unwrap();
        let mut house = House {
            db,
            now: morning(),
            counter: 0,
        };
        house.tell(Command::Configure {
            rules: Arc::new(Rules::of(campaigns)),
        });
        house.import("demo", rows);
        house
    }

    pub fn new(rows: Vec<Row>) -> House {
        House::with(vec![demo()], rows)
    }

    pub fn import(&mut self, campaign: &str, rows: Vec<Row>) -> Fact {
        self.tell(Command::Import {
            list: ListId::new("list"),
            campaign: CampaignId::new(campaign),
            rows,
            source: "test".to_owned(),
        })
    }

    pub fn tell(&mut self, command: Command) -> Fact {
        self.db.apply(self.now, &command).unwrap()
    }

    pub fn later(&mut self, by: Duration) {
        self.now = self.now.plus(by);
    }

    pub fn minutes(&mut self, many: u64) {
        self.later(Duration::from_secs(many * 60));
    }

    pub fn ask(&mut self, agent: &str) -> Fact {
        let campaigns = vec![CampaignId::new("demo")];
        self.tell(Command::ReserveNext {
            agent: AgentId::new(agent),
            campaigns,
        })
    }

    pub fn card(&mut self, agent: &str) -> Reservation {
        match self.ask(agent) {
            Fact::Reserved(card) => *card,
            other => panic!("{other:?}"),
        }
    }

    fn fresh(&mut self) -> u128 {
        self.counter += 1;
        self.counter
    }

    pub fn key(&mut self) -> String {
        format!("key-{}", self.fresh())
    }

    pub fn begin(&mut self, card: &Reservation, phone: PhoneId, key: &str) -> Fact {
        let attempt = AttemptId(uuid::Uuid::from_u128(self.fresh()));
        self.tell(Command::BeginAttempt {
            token: card.token,
            agent: card.agent.clone(),
            key: key.to_owned(),
            attempt,
            phone,
            trunk: TrunkId::new("t"),
            caller_id: "+86100".to_owned(),
            dialog: "invited".to_owned(),
        })
    }

    pub fn dial(&mut self, card: &Reservation) -> AttemptId {
        let (key, phone) = (self.key(), card.suggested.expect("a number to dial"));
        match self.begin(card, phone, &key) {
            Fact::Begun { attempt, .. } => attempt,
            other => panic!("{other:?}"),
        }
    }

    pub fn step(&mut self, attempt: AttemptId, step: AttemptStep) {
        assert!(matches!(
            self.tell(Command::Step { attempt, step }),
            Fact::Stepped
        ));
    }

    pub fn finish(&mut self, attempt: AttemptId, result: CallResult) -> Finished {
        let finish = Command::Finish {
            attempt,
            result,
            status: Some(480),
            q850: None,
            ended_by: EndedBy::Network,
            spans: Spans::default(),
        };
        match self.tell(finish) {
            Fact::Finished(finished) => finished,
            other => panic!("{other:?}"),
        }
    }

    /// A dial whose customer answers, talks a minute and hangs up.
    pub fn talk(&mut self, card: &Reservation) -> AttemptId {
        let attempt = self.dial(card);
        self.step(attempt, AttemptStep::Invited);
        self.step(
            attempt,
            AttemptStep::Alerting {
                dialog: "ringing".to_owned(),
            },
        );
        self.later(Duration::from_secs(5));
        self.step(
            attempt,
            AttemptStep::Answered {
                dialog: "answered".to_owned(),
            },
        );
        self.step(attempt, AttemptStep::Bridged);
        self.later(Duration::from_secs(60));
        self.finish(attempt, CallResult::Connected);
        attempt
    }

    pub fn dispose_command(
        &mut self,
        card: &Reservation,
        disposition: Option<&str>,
        callback_at: Option<UtcMs>,
    ) -> Command {
        Command::Dispose {
            token: card.token,
            agent: card.agent.clone(),
            key: self.key(),
            disposition: disposition.map(str::to_owned),
            notes: "as said".to_owned(),
            callback_at,
            automatic: disposition.is_none(),
        }
    }

    pub fn dispose(&mut self, card: &Reservation, disposition: Option<&str>) -> LeadState {
        let command = self.dispose_command(card, disposition, None);
        match self.tell(command) {
            Fact::Disposed { state, .. } => state,
            other => panic!("{other:?}"),
        }
    }

    /// One whole unanswered call, accepted as it ended.
    pub fn fail(&mut self, agent: &str, result: CallResult) -> LeadState {
        let card = self.card(agent);
        let attempt = self.dial(&card);
        self.step(attempt, AttemptStep::Invited);
        self.finish(attempt, result);
        self.dispose(&card, None)
    }

    pub fn lead(&self, lead: u64) -> LeadView {
        self.db
            .view(self.now)
            .lead(LeadId(lead), &AgentId::new("nobody"))
            .unwrap()
            .unwrap()
    }

    pub fn attempt(&self, attempt: AttemptId) -> AttemptView {
        self.db.view(self.now).attempt(attempt).unwrap().unwrap()
    }

    pub fn count(&self, sql: &str) -> i64 {
        self.db
            .connection()
            .query_row(sql, [], |row| row.get(0))
            .unwrap()
    }
}

pub(super) fn skip(card: &Reservation, key: &str) -> Command {
    Command::Skip {
        token: card.token,
        agent: card.agent.clone(),
        key: key.to_owned(),
        reason: "bad_time".to_owned(),
    }
}

pub(super) fn token_of(fact: &Fact) -> Option<FenceToken> {
    match fact {
        Fact::Reserved(card) => Some(card.token),
        _ => None,
    }
}
