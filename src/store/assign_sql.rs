//! The candidates of a class in their order, as SQL. The order is the dialer's (`assign`).

use rusqlite::types::Value;

use super::lead_row;
use crate::dialer::assign::Class;
use crate::id::{AgentId, CampaignId};
use crate::now::UtcMs;

/// The statement for a class and its parameters. After the lead's columns comes every phone's
/// zones, `;` between phones.
pub(super) fn candidates(
    class: Class,
    agent: &AgentId,
    campaigns: &[CampaignId],
    now: UtcMs,
) -> (String, Vec<Value>) {
    let mut values: Vec<Value> = campaigns
        .iter()
        .map(|it| Value::from(it.as_str().to_owned()))
        .collect();
    let marks = vec!["?"; campaigns.len()].join(", ");
    let due = "l.state = 'waiting' AND l.not_before <= ?";
    let by_due = "l.priority DESC, l.not_before, l.id";
    let (filter, order) = match class {
        Class::CallbackPersonal => {
            values.extend([Value::from(now.0), Value::from(agent.as_str().to_owned())]);
            (
                format!("{due} AND l.wait_kind = 'callback_personal' AND l.owner = ?"),
                by_due,
            )
        }
        Class::CallbackAny => {
            values.extend([Value::from(now.0), Value::from(agent.as_str().to_owned())]);
            let others = "l.wait_kind = 'callback_personal' AND l.owner <> ?";
            (
                format!("{due} AND (l.wait_kind = 'callback_any' OR ({others}))"),
                by_due,
            )
        }
        Class::Retry => {
            values.push(Value::from(now.0));
            (format!("{due} AND l.wait_kind = 'retry'"), by_due)
        }
        Class::New => ("l.state = 'ready'".to_owned(), "l.priority DESC, l.id"),
    };
    let columns = lead_row::COLUMNS;
    let sql = format!(
        "SELECT {columns},
                (SELECT group_concat(p.time_zones, ';') FROM phones p WHERE p.contact = l.contact)
         FROM leads l WHERE l.campaign IN ({marks}) AND {filter} ORDER BY {order}"
    );
    (sql, values)
}
