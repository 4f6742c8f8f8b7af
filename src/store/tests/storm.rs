//! Random commands against the invariants.

use super::*;
use crate::dialer::reservation::ReleaseReason;
use proptest::prelude::*;

#[test]
fn two_agents_asking_a_thousand_times_never_get_the_same_lead() {
    let mut house = House::new(rows(40));
    let mut held: [Option<Reservation>; 2] = [None, None];
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..1_000 {
        let me = round % 2;
        if let Some(card) = held[me].take() {
            let why = ReleaseReason::Reject;
            house.tell(Command::Release {
                token: card.token,
                agent: card.agent,
                why,
            });
        }
        let card = house.card(["a", "b"][me]);
        assert!(seen.insert(card.token), "a token is given once");
        if let Some(other) = &held[1 - me] {
            assert_ne!(other.lead.lead, card.lead.lead);
        }
        held[me] = Some(card);
    }
}

#[derive(Clone, Debug)]
enum Act {
    Ask(u8),
    Skip(u8),
    Release(u8),
    Dial(u8),
    Ring(u8),
    Answer(u8),
    Finish(u8, u8),
    Dispose(u8, u8),
    Suppress(u8),
    Expire,
    Recover,
    Wait(u16),
}

fn act() -> impl Strategy<Value = Act> {
    let agent = 0..3u8;
    prop_oneof![
        6 => agent.clone().prop_map(Act::Ask),
        1 => agent.clone().prop_map(Act::Skip),
        1 => agent.clone().prop_map(Act::Release),
        6 => agent.clone().prop_map(Act::Dial),
        2 => agent.clone().prop_map(Act::Ring),
        2 => agent.clone().prop_map(Act::Answer),
        5 => (agent.clone(), 0..14u8).prop_map(|(a, r)| Act::Finish(a, r)),
        5 => (agent.clone(), 0..13u8).prop_map(|(a, d)| Act::Dispose(a, d)),
        1 => agent.prop_map(Act::Suppress),
        1 => Just(Act::Expire),
        1 => Just(Act::Recover),
        3 => (1..400u16).prop_map(Act::Wait),
    ]
}

/// What each agent believes, right or (after time and others have passed) wrong.
#[derive(Default)]
struct Seat {
    card: Option<Reservation>,
    attempt: Option<AttemptId>,
}

fn perform(house: &mut House, seats: &mut [Seat; 3], act: &Act) {
    const DISPOSITIONS: [&str; 12] = [
        "sale",
        "interested",
        "not_interested",
        "callback",
        "callback_any",
        "not_now",
        "machine",
        "wrong_number",
        "number_done",
        "dnc_number",
        "dnc",
        "nonsense",
    ];
    let key = house.key();
    match act {
        Act::Ask(a) => {
            if let Fact::Reserved(card) = house.ask(&format!("agent{a}")) {
                seats[usize::from(*a)].card = Some(*card);
            }
        }
        Act::Wait(minutes) => house.minutes(u64::from(*minutes)),
        Act::Expire => drop(house.tell(Command::ExpireReservations)),
        Act::Recover => drop(house.tell(Command::Recover)),
        Act::Ring(a) | Act::Answer(a) => {
            let Some(attempt) = seats[usize::from(*a)].attempt else {
                return;
            };
            let dialog = "d".to_owned();
            house.step(
                attempt,
                match act {
                    Act::Ring(_) => AttemptStep::Alerting { dialog },
                    _ => AttemptStep::Answered { dialog },
                },
            );
        }
        Act::Finish(a, result) => {
            let Some(attempt) = seats[usize::from(*a)].attempt else {
                return;
            };
            house.finish(attempt, CallResult::ALL[usize::from(*result)]);
        }
        Act::Skip(a) | Act::Release(a) | Act::Dial(a) | Act::Dispose(a, _) | Act::Suppress(a) => {
            let Some(card) = seats[usize::from(*a)].card.clone() else {
                return;
            };
            let (token, agent) = (card.token, card.agent.clone());
            let why = ReleaseReason::Reject;
            let fact = match act {
                Act::Skip(_) => house.tell(skip(&card, &key)),
                Act::Release(_) => house.tell(Command::Release { token, agent, why }),
                Act::Suppress(_) => house.tell(Command::Suppress { token, agent, key }),
                Act::Dispose(_, said) => {
                    let due = Some(house.now.plus(Duration::from_secs(3_600)));
                    let said = DISPOSITIONS.get(usize::from(*said)).copied();
                    let command = house.dispose_command(&card, said, due);
                    house.tell(command)
                }
                _ => house.begin(&card, card.suggested.unwrap_or(PhoneId(1)), &key),
            };
            if let Fact::Begun {
                attempt,
                origination,
                ..
            } = fact
            {
                assert!(
                    card.lead
                        .phones
                        .iter()
                        .any(|it| it.e164 == origination.e164())
                );
                seats[usize::from(*a)].attempt = Some(attempt);
            }
        }
    }
}

/// Each query counts what must not be.
const INVARIANTS: [(&str, &str); 12] = [
    (
        "two live reservations of one lead or agent",
        "SELECT count(*) FROM reservations a JOIN reservations b ON a.token < b.token
         WHERE a.ended_at IS NULL AND b.ended_at IS NULL
           AND (a.lead = b.lead OR a.agent = b.agent)",
    ),
    (
        "two live attempts at one number",
        "SELECT count(*) FROM attempts a JOIN attempts b ON a.id < b.id AND a.e164 = b.e164
         WHERE a.ended_at IS NULL AND b.ended_at IS NULL",
    ),
    (
        "a reserved lead without a live card in preview",
        "SELECT count(*) FROM leads l WHERE state = 'reserved' AND NOT EXISTS (SELECT 1
         FROM reservations WHERE lead = l.id AND token = l.token AND ended_at IS NULL
         AND phase = 'preview')",
    ),
    (
        "a lead in a call without its live attempt",
        "SELECT count(*) FROM leads l WHERE state IN ('dialing', 'connected') AND NOT EXISTS
         (SELECT 1 FROM attempts WHERE lead = l.id AND token = l.token AND ended_at IS NULL
          AND (l.state = 'connected') = (answered_at IS NOT NULL))",
    ),
    (
        "a live attempt whose lead is not in a call",
        "SELECT count(*) FROM attempts a JOIN leads l ON l.id = a.lead
         WHERE a.ended_at IS NULL AND l.state NOT IN ('dialing', 'connected')",
    ),
    (
        "a live reservation of a lead that is free",
        "SELECT count(*) FROM reservations r JOIN leads l ON l.id = r.lead
         WHERE r.ended_at IS NULL
           AND l.state NOT IN ('reserved', 'dialing', 'connected', 'wrap_up')",
    ),
    (
        "a lead in wrap-up that nobody is asked about",
        "SELECT count(*) FROM leads l JOIN reservations r ON r.token = l.token
         WHERE l.state = 'wrap_up' AND r.ended_at IS NOT NULL
           AND r.ended_why <> 'no_disposition'",
    ),
    (
        "counters that differ from the attempts",
        "SELECT count(*) FROM leads l WHERE
         business_count <> (SELECT count(*) FROM attempts WHERE lead = l.id AND is_business = 1)
         OR regulatory_count <>
            (SELECT count(*) FROM attempts WHERE lead = l.id AND is_regulatory = 1)",
    ),
    (
        "an attempt without its evidence",
        "SELECT count(*) FROM attempts WHERE id NOT IN (SELECT attempt FROM evidence)",
    ),
    (
        "an attempt at a number after it was suppressed",
        "SELECT count(*) FROM attempts a JOIN suppressions s ON s.e164 = a.e164
         WHERE a.created_at > s.at",
    ),
    (
        "more than three regulatory attempts at a number in 24 hours",
        "SELECT count(*) FROM attempts a WHERE is_regulatory = 1 AND 3 < (SELECT count(*)
         FROM attempts b WHERE b.e164 = a.e164 AND b.is_regulatory = 1
         AND b.created_at <= a.created_at AND b.created_at > a.created_at - 86400000)",
    ),
    (
        "an attempt outside nine to eight in Shanghai",
        "SELECT count(*) FROM attempts WHERE
         CAST(strftime('%H', created_at / 1000 + 28800, 'unixepoch') AS INTEGER)
         NOT BETWEEN 9 AND 19",
    ),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn no_sequence_of_commands_breaks_an_invariant(
        acts in proptest::collection::vec(act(), 1..120),
    ) {
        let shared = ["+8613800130001", "+8613800139001"];
        let leads = vec![
            row(1, &shared),
            row(2, &shared[..1]),
            row(3, &["+8613800130003"]),
            row(4, &["+8613800130004", "+8613800130005"]),
        ];
        let mut house = House::new(leads);
        let mut seats = <[Seat; 3]>::default();
        for act in &acts {
            perform(&mut house, &mut seats, act);
            for (what, sql) in INVARIANTS {
                prop_assert_eq!(house.count(sql), 0, "{} after {:?}", what, act);
            }
        }
    }
}
