//! The built-in CRM: customers made up from their numbers, over plain HTTP on loopback.
//!
//! `GET /customers/{external_id}` answers for L0001 … L0200, the demo's leads, each in its own
//! language, the same on every run. `?delay_ms=` answers late, `?fail=` wrongly (see [`Fault`]).

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The last customer's number.
pub const CUSTOMERS_MAX: u32 = 200;
/// No answer is held back longer.
const DELAY_MS_MAX: u64 = 60_000;
/// Twice what a careful client reads.
const HUGE_BYTES: usize = 512 * 1024;

/// What can go wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// 500.
    Error,
    /// 503 with Retry-After.
    Busy,
    /// 200 with a body that is not JSON.
    Garbage,
    /// 200 with half a JSON body.
    Truncated,
    /// 200 with 512 KiB.
    Huge,
    /// A redirect to another host.
    Redirect,
    /// Never answers.
    Hang,
}

/// What every answer suffers, until it is changed.
#[derive(Clone, Copy, Debug, Default)]
struct Mood {
    delay_ms: u64,
    fault: Option<Fault>,
}

#[derive(Debug, Default)]
struct Shared {
    mood: Mutex<Mood>,
    served: AtomicU64,
}

/// A running CRM. Dropping it stops it.
pub struct Crm {
    local: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Crm {
    /// Binds to loopback (port 0 takes a free one) and begins to serve.
    ///
    /// # Errors
    /// `InvalidInput` for any other address; otherwise what binding says.
    pub async fn start(bind: SocketAddr) -> io::Result<Crm> {
        if !bind.ip().is_loopback() {
            let why = "the demo CRM asks nobody who they are, so it serves loopback only";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let listener = TcpListener::bind(bind).await?;
        let local = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let app = Router::new()
            .route("/customers/{external_id}", get(show))
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            // Serving ends with the task; axum reports no error of its own.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Crm {
            local,
            shared,
            task,
        })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The address of a customer, with `{{ external_id }}` left to be filled in.
    pub fn url_template(&self) -> String {
        format!("http://{}/customers/{{{{ external_id }}}}", self.local)
    }

    /// How many requests have come in.
    pub fn served(&self) -> u64 {
        self.shared.served.load(Ordering::Relaxed)
    }

    /// Every further answer comes so much later.
    pub fn set_delay_ms(&self, delay_ms: u64) {
        self.shared
            .mood
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .delay_ms = delay_ms;
    }

    /// Every further answer goes wrong like this.
    pub fn set_fault(&self, fault: Option<Fault>) {
        self.shared
            .mood
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .fault = fault;
    }
}

impl Drop for Crm {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Deserialize)]
struct Asked {
    delay_ms: Option<u64>,
    fail: Option<Fault>,
}

async fn show(
    State(shared): State<Arc<Shared>>,
    Path(external_id): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    shared.served.fetch_add(1, Ordering::Relaxed);
    let mood = *shared.mood.lock().unwrap_or_else(PoisonError::into_inner);
    let delay_ms = asked.delay_ms.unwrap_or(mood.delay_ms).min(DELAY_MS_MAX);
    tokio::time::sleep(Duration::from_millis(delay_ms)).await;
    match (asked.fail.or(mood.fault), Customer::of(&external_id)) {
        (Some(fault), _) => fail(fault).await,
        (None, Some(customer)) => axum::Json(customer).into_response(),
        (None, None) => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn fail(fault: Fault) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    match fault {
        Fault::Error => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Fault::Busy => (
            StatusCode::SERVICE_UNAVAILABLE,
            [(header::RETRY_AFTER, "5")],
        )
            .into_response(),
        Fault::Garbage => (json, "<html>It works!</html>").into_response(),
        Fault::Truncated => (json, r#"{"name":"Li"#).into_response(),
        Fault::Huge => (json, Body::from(vec![b' '; HUGE_BYTES])).into_response(),
        Fault::Redirect => {
            let elsewhere = [(header::LOCATION, "http://127.0.0.254:9/customers/L0001")];
            (StatusCode::FOUND, elsewhere).into_response()
        }
        Fault::Hang => std::future::pending().await,
    }
}

/// A customer as this CRM keeps one.
#[derive(Debug, PartialEq, Serialize)]
struct Customer {
    external_id: String,
    name: String,
    company: String,
    language: String,
    tier: &'static str,
    since: String,
    balance: Money,
    orders: Vec<Order>,
    tickets: Vec<Ticket>,
    remarks: String,
}

#[derive(Debug, PartialEq, Serialize)]
struct Money {
    /// Decimal, with two places: `"1280.50"`.
    amount: String,
    currency: &'static str,
}

#[derive(Debug, PartialEq, Serialize)]
struct Order {
    number: String,
    product: &'static str,
    placed_on: String,
    total: Money,
    status: &'static str,
}

#[derive(Debug, PartialEq, Serialize)]
struct Ticket {
    number: String,
    subject: &'static str,
    opened_at: String,
    open: bool,
}

/// The demo's leads: this CRM knows the same people by the same names.
const LEADS: &[u8] = include_bytes!("../../config/demo/leads.csv");

/// A row of [`LEADS`], as far as a CRM cares.
#[derive(Deserialize)]
struct Lead {
    external_id: String,
    name: String,
    company: String,
    language: String,
}

impl Lead {
    fn of(external_id: &str) -> Option<Lead> {
        let rows = csv::Reader::from_reader(LEADS).into_deserialize::<Lead>();
        rows.flatten().find(|lead| lead.external_id == external_id)
    }
}

const PRODUCTS: [[&str; 5]; 2] = [
    [
        "Fibre 500",
        "Office phone plan",
        "Cloud backup",
        "Security suite",
        "Mobile plan 20 GB",
    ],
    [
        "光纤宽带 500M",
        "企业通话套餐",
        "云备份",
        "安全套件",
        "手机套餐 20GB",
    ],
];
const SUBJECTS: [[&str; 4]; 2] = [
    [
        "Invoice sent twice",
        "Slow connection in the evening",
        "Change of address",
        "Router offline",
    ],
    ["重复收到账单", "晚间网速慢", "变更地址", "路由器离线"],
];
const STATUSES: [[&str; 3]; 2] = [
    ["delivered", "shipped", "open"],
    ["已送达", "已发货", "处理中"],
];
const TIERS: [[&str; 3]; 2] = [["Standard", "Silver", "Gold"], ["普通", "银卡", "金卡"]];

impl Customer {
    fn of(external_id: &str) -> Option<Customer> {
        let digits = external_id
            .strip_prefix('L')
            .filter(|digits| digits.len() == 4)?;
        let number: u32 = digits.parse().ok()?;
        if !(1..=CUSTOMERS_MAX).contains(&number) {
            return None;
        }
        let lead = Lead::of(external_id)?;
        let mut dice = Dice(number);
        let tongue = usize::from(lead.language == "zh");
        let currency = ["USD", "CNY"][tongue];
        let orders = (0..dice.roll(5))
            .map(|_| Order::any(&mut dice, tongue, currency))
            .collect();
        let tickets = (0..dice.roll(3))
            .map(|_| Ticket::any(&mut dice, tongue))
            .collect();
        Some(Customer {
            external_id: external_id.to_owned(),
            name: lead.name,
            company: lead.company,
            language: lead.language,
            tier: dice.pick(&TIERS[tongue]),
            since: dice.date(2015, 9),
            balance: dice.money(400_000, currency),
            orders,
            tickets,
            // Blank for some, as in life.
            remarks: if dice.roll(2) == 0 {
                String::new()
            } else {
                remark(tongue).to_owned()
            },
        })
    }
}

fn remark(tongue: usize) -> &'static str {
    [
        "  Prefers to be called in the afternoon. ",
        "  希望下午联系。 ",
    ][tongue]
}

impl Order {
    fn any(dice: &mut Dice, tongue: usize, currency: &'static str) -> Order {
        Order {
            number: format!("SO-{:06}", dice.roll(1_000_000)),
            product: dice.pick(&PRODUCTS[tongue]),
            placed_on: dice.date(2025, 2),
            total: dice.money(90_000, currency),
            status: dice.pick(&STATUSES[tongue]),
        }
    }
}

impl Ticket {
    fn any(dice: &mut Dice, tongue: usize) -> Ticket {
        Ticket {
            number: format!("T-{:05}", dice.roll(100_000)),
            subject: dice.pick(&SUBJECTS[tongue]),
            opened_at: format!(
                "{}T{:02}:{:02}:00Z",
                dice.date(2026, 1),
                dice.roll(24),
                dice.roll(60)
            ),
            open: dice.roll(2) == 0,
        }
    }
}

/// The same throws for the same customer: xorshift32 (Marsaglia 2003), spread by a multiplier.
struct Dice(u32);

impl Dice {
    fn roll(&mut self, sides: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        (self.0.wrapping_mul(2_654_435_761) >> 8) % sides
    }

    fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.roll(among.len() as u32) as usize]
    }

    fn date(&mut self, first_year: u32, years: u32) -> String {
        let year = first_year + self.roll(years);
        format!(
            "{year:04}-{:02}-{:02}",
            1 + self.roll(12),
            1 + self.roll(28)
        )
    }

    fn money(&mut self, cents_max: u32, currency: &'static str) -> Money {
        let cents = self.roll(cents_max);
        Money {
            amount: format!("{}.{:02}", cents / 100, cents % 100),
            currency,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn customers_are_the_same_on_every_run_and_end_at_their_number() {
        for number in 1..=CUSTOMERS_MAX {
            let id = format!("L{number:04}");
            let customer = Customer::of(&id).expect("within the range");
            assert_eq!(Some(&customer), Customer::of(&id).as_ref());
            let chinese = TIERS[1].contains(&customer.tier);
            assert_eq!(customer.language == "zh", chinese, "{id}");
        }
        for nobody in ["L0000", "L0201", "L1", "0001", "L00x1", "l0001", ""] {
            assert_eq!(Customer::of(nobody), None, "{nobody}");
        }
    }

    #[test]
    fn customers_differ() {
        let names: std::collections::BTreeSet<_> = (1..=CUSTOMERS_MAX)
            .filter_map(|n| Customer::of(&format!("L{n:04}")))
            .map(|c| c.name)
            .collect();
        assert!(names.len() > 100, "{}", names.len());
        let with_orders = (1..=CUSTOMERS_MAX)
            .filter_map(|n| Customer::of(&format!("L{n:04}")))
            .filter(|customer| !customer.orders.is_empty())
            .count();
        assert!((100..200).contains(&with_orders), "{with_orders}");
    }

    #[tokio::test]
    async fn only_loopback_is_served() {
        assert!(Crm::start(([0, 0, 0, 0], 0).into()).await.is_err());
    }

    async fn status_of(address: SocketAddr, path: &str) -> io::Result<String> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: crm\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn it_answers_and_fails_as_asked() {
        let crm = Crm::start(([127, 0, 0, 1], 0).into())
            .await
            .expect("a free port");
        let at = crm.local_addr();
        let good = status_of(at, "/customers/L0001").await.expect("served");
        assert!(
            good.starts_with("HTTP/1.1 200") && good.contains("\"tickets\""),
            "{good}"
        );
        let nobody = status_of(at, "/customers/L9999").await.expect("served");
        assert!(nobody.starts_with("HTTP/1.1 404"), "{nobody}");
        let failed = status_of(at, "/customers/L0001?fail=error")
            .await
            .expect("served");
        assert!(failed.starts_with("HTTP/1.1 500"), "{failed}");
        crm.set_fault(Some(Fault::Busy));
        let busy = status_of(at, "/customers/L0001").await.expect("served");
        assert!(busy.starts_with("HTTP/1.1 503"), "{busy}");
        crm.set_fault(None);
        let asked = std::time::Instant::now();
        let late = status_of(at, "/customers/L0002?delay_ms=120")
            .await
            .expect("served");
        assert!(late.starts_with("HTTP/1.1 200") && asked.elapsed().as_millis() >= 120);
        assert_eq!(crm.served(), 5);
    }
}
