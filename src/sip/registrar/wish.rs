//! What a REGISTER asks for, read whole before any of it is done (RFC 3261 §10.3 step 7).

use super::super::message::{NameAddr, Request, Uri};
use super::{Outcome, RegistrarLimits};

/// Bytes of one contact with its parameters, of all Path values, and of a Call-ID: together with
/// what is counted they keep a binding below 2 KiB.
const CONTACT_BYTES_MAX: usize = 700;
const PATH_BYTES_MAX: usize = 500;
const CALL_ID_BYTES_MAX: usize = 256;

/// Contact parameters that are ours to say.
const OURS: [&str; 3] = ["expires", "pub-gruu", "temp-gruu"];

pub(super) struct Asked {
    pub call_id: String,
    pub cseq: u32,
    /// `Contact: *` with Expires 0.
    pub everything_goes: bool,
    pub wishes: Vec<Wish>,
    /// Path values, nearest to us first.
    pub path: Vec<String>,
    /// RFC 5627 §5.1: the phone knows GRUU.
    pub gruu: bool,
    /// RFC 5626 §6: the phone knows outbound and made use of it.
    pub outbound: bool,
    /// RFC 3581: the phone asked for answers where it sent from.
    pub rport: bool,
}

/// One contact of a REGISTER.
pub(super) struct Wish {
    pub contact: NameAddr,
    pub uri: Uri,
    pub expires_s: u32,
    pub q_permille: u16,
    pub instance: Option<String>,
    pub reg_id: Option<u32>,
}

impl Asked {
    pub fn read(request: &Request, limits: &RegistrarLimits) -> Result<Asked, Outcome> {
        let bad = |phrase| Outcome::Refused(400, phrase);
        let headers = &request.headers;
        let (Some(call_id), Some((cseq, _))) = (headers.call_id(), headers.cseq()) else {
            return Err(bad("Bad Request"));
        };
        let values = headers.items("Contact");
        let supported = headers.items("Supported");
        let knows = |tag: &str| supported.iter().any(|one| one.eq_ignore_ascii_case(tag));
        let path = headers.items("Path");
        let path_bytes: usize = path.iter().map(String::len).sum();
        if call_id.len() > CALL_ID_BYTES_MAX || path_bytes > PATH_BYTES_MAX {
            return Err(bad("Header Too Long"));
        }
        if path.iter().any(|one| NameAddr::parse(one).is_none()) {
            return Err(bad("Bad Path"));
        }
        let everything_goes = values.iter().any(|value| value == "*");
        if everything_goes && (values.len() != 1 || headers.seconds("Expires") != Some(0)) {
            // RFC 3261 10.3 step 6: alone, and only to remove.
            return Err(bad("Bad Contact"));
        }
        let mut wishes = Vec::new();
        for value in values.iter().filter(|value| *value != "*") {
            wishes.push(Wish::read(value, headers.seconds("Expires"), limits)?);
        }
        if wishes.len() > limits.contacts_per_aor_max {
            return Err(Outcome::Refused(403, "Too Many Contacts"));
        }
        let flows = wishes.iter().filter(|it| it.reg_id.is_some());
        let (flows, kept) = flows.fold((0, 0), |(flows, kept), wish| {
            (flows + 1, kept + usize::from(wish.expires_s > 0))
        });
        // RFC 5626 6: one flow a registration.
        if kept > 1 {
            return Err(bad("More Than One reg-id"));
        }
        let vias = headers.items("Via");
        let outbound = flows > 0 && knows("outbound");
        let first_hop_kept = vias.len() < 2 || path.last().is_some_and(|hop| has_ob(hop));
        if outbound && !first_hop_kept {
            return Err(Outcome::Refused(439, "First Hop Lacks Outbound Support"));
        }
        let rport = headers.via().is_some_and(|via| {
            via.params
                .iter()
                .any(|(name, _)| name.eq_ignore_ascii_case("rport"))
        });
        Ok(Asked {
            call_id,
            cseq,
            everything_goes,
            wishes,
            path,
            gruu: knows("gruu"),
            outbound,
            rport,
        })
    }
}

impl Wish {
    fn read(value: &str, overall: Option<u32>, limits: &RegistrarLimits) -> Result<Wish, Outcome> {
        let bad = || Outcome::Refused(400, "Bad Contact");
        let mut contact = NameAddr::parse(value).ok_or_else(bad)?;
        let uri = Uri::parse(&contact.uri).map_err(|_| bad())?;
        if value.len() > CONTACT_BYTES_MAX {
            return Err(Outcome::Refused(400, "Contact Too Long"));
        }
        // RFC 3261 20.19: what cannot be read counts as 3600.
        let own = contact
            .param("expires")
            .map(|text| text.parse::<u32>().unwrap_or(3_600));
        let asked = own.or(overall).unwrap_or(limits.expires_s_default);
        if asked != 0 && asked < limits.expires_s_min {
            return Err(Outcome::TooBrief {
                min_expires_s: limits.expires_s_min,
            });
        }
        let ours = |name: &String| OURS.iter().any(|own| own.eq_ignore_ascii_case(name));
        contact.params.retain(|(name, _)| !ours(name));
        let q_permille = contact.param("q").map_or(Some(1_000), permille);
        let instance = contact.param("+sip.instance").map(str::to_owned);
        let reg_id = match contact.param("reg-id").filter(|_| instance.is_some()) {
            Some(text) => Some(text.parse().ok().filter(|id| *id > 0).ok_or_else(bad)?),
            None => None,
        };
        Ok(Wish {
            uri,
            expires_s: asked.min(limits.expires_s_max),
            q_permille: q_permille.ok_or_else(bad)?,
            instance,
            reg_id,
            contact,
        })
    }
}

/// RFC 5626 5.1: the edge proxy says so in its Path.
fn has_ob(hop: &str) -> bool {
    let hop = NameAddr::parse(hop).and_then(|hop| Uri::parse(&hop.uri).ok());
    hop.is_some_and(|uri| uri.has_param("ob"))
}

/// `qvalue` (RFC 3261 §25.1) in thousandths.
pub(super) fn permille(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !matches!(whole, "0" | "1") || part.len() > 3 || !digits(part) {
        return None;
    }
    let thousandths: u16 = format!("{part:0<3}").parse().ok()?;
    let value = if whole == "1" { 1_000 } else { 0 } + thousandths;
    (value <= 1_000).then_some(value)
}
