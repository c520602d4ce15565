//! What answers at the beginning tell about the configuration.

use super::Runner;
use crate::case::When;
use crate::config::Side;
use crate::json::Json;
use crate::lab::{Answer, Mode, Request, Sae};

/// Something that is likely to be wrong.
pub(crate) struct Hint {
    pub(crate) text: String,
    /// Testing with it is of no use; otherwise it may be as it ought to.
    pub(crate) sure: bool,
}

impl Runner<'_> {
    /// Cases that are selected.
    pub(crate) fn planned(&self) -> usize {
        self.plan.cases.len()
    }

    /// What seems to be wrong with the configuration.
    pub(crate) fn hints(&self) -> Vec<Hint> {
        let roles = &self.lab.config.roles;
        let mut hints = Vec::new();
        let mut sure = |text: String| hints.push(Hint { text, sure: true });
        if let [Some(a), Some(b)] = [Side::A, Side::B].map(|side| self.lab.kme(side))
            && a.url == b.url
        {
            sure("[kme.a] and [kme.b] have one base_url: with one KME only, leave [kme.b] out, and write kme = \"a\" for every SAE".to_owned());
        }
        if let [Some(a), Some(b)] = [0, 1].map(|index| self.met(index).and_then(|answer| text(answer, "source_KME_ID")))
            && a == b
        {
            sure(format!("both KMEs call themselves {}: are they two?", self.lab.vault.told(a, 100)));
        }
        let master = self.lab.sae(&roles.master);
        let slave = roles.slave.as_ref().and_then(|name| self.lab.sae(name));
        if let (Some(master), Some(slave)) = (master, slave)
            && master.side == slave.side
            && let Some(idle) = self.lab.kmes().find(|kme| kme.side != slave.side)
        {
            sure(format!(
                "[kme.{}] is configured, but the slave, {}, is at {} as the master is: whether two KMEs work together will not be tested",
                idle.side.letter().to_lowercase(),
                slave.name,
                slave.side.letter()
            ));
        }
        self.contradictions().into_iter().for_each(|what| sure(format!("claim contradicted: {what}; correct [ics]")));
        let keyless = self.lab.budget().keys == 0;
        if keyless && self.options.mode != Mode::Safe && self.plan.cases.iter().any(|case| !case.cost.is_safe()) {
            sure("the budget is 0 keys (limits.budget_keys, --budget-keys): all that could be given one will be inconclusive; --mode safe leaves it out".to_owned());
        }
        for (index, sae, peer) in [(0, master, slave.or(master)), (1, slave, master)] {
            if let (Some(sae), Some(peer), Some(answer)) = (sae, peer, self.met(index)) {
                hints.extend(self.about(sae, peer, answer, index == 0));
            }
        }
        hints.extend(self.too_few_saes());
        hints
    }

    /// MC-005 is skipped as it finds out, which is late.
    fn too_few_saes(&self) -> Option<Hint> {
        let most = self.limits.max_additional?;
        let wanted = self.plan.cases.iter().any(|case| case.id == "014-MC-005");
        let roles = &self.lab.config.roles;
        let taken = [Some(&roles.master), roles.slave.as_ref()];
        let others = self.lab.saes().filter(|sae| !taken.contains(&Some(&sae.name))).count() as u64;
        let applies =
            roles.slave.is_some() && !roles.additional.is_empty() && When::Multicast.holds(&self.lab.config.ics, most > 0);
        let text = || {
            format!(
                "MC-005 will be skipped: it names one additional slave more than max_SAE_ID_count, {most}, and [sae] has {others} besides master and slave"
            )
        };
        (wanted && applies && others <= most).then(|| Hint { text: text(), sure: false })
    }

    /// Another SAE whom the KME of `sae` tells its Status: it does not keep it from all of them.
    fn told_instead(&self, sae: &Sae, peer: &Sae) -> Option<&Sae> {
        let mut others = self.lab.saes().filter(|other| other.side == sae.side && other.name != sae.name);
        others.find(|other| self.lab.exchange(other, Request::status(&peer.id)).is_ok_and(|answer| answer.succeeds()))
    }

    /// What Status, as `sae` was told it about `peer`, says of them. Not every slave has to be a master, too.
    fn about(&self, sae: &Sae, peer: &Sae, answer: &Answer, is_master: bool) -> Vec<Hint> {
        let (letter, name) = (sae.side.letter(), &sae.name);
        let told = |text: &str| self.lab.vault.told(text, 100);
        let one = |text: String, sure: bool| vec![Hint { text, sure }];
        match answer.status() {
            Some(200) => {}
            Some(status @ (401 | 403)) => {
                let swapped = if is_master { ", or are the URLs of A and B exchanged" } else { "" };
                let other = if is_master { None } else { self.told_instead(sae, peer) };
                let (but, then) = match other {
                    Some(other) => (format!(", and tells {} its Status", other.name), String::new()),
                    None if is_master => Default::default(),
                    None => (
                        String::new(),
                        format!(
                            " If it is, {name} may have no right to Status, and all is well; if not, a run will hold it against the KME"
                        ),
                    ),
                };
                let file = sae.path.display();
                return one(
                    format!(
                        "KME {letter} refuses {name} ({status}){but}: is its certificate ({file}) enrolled there, as {:?}? Is {name} at KME {letter}{swapped}?{then}",
                        sae.id
                    ),
                    is_master || other.is_some(),
                );
            }
            Some(400) => {
                return one(
                    format!(
                        "KME {letter} refuses {name} when it asks for {:?} (400): is that the ID of [sae] {}?",
                        peer.id, peer.name
                    ),
                    is_master,
                );
            }
            Some(404) => {
                let url = self.lab.kme(sae.side).map(|kme| kme.url.to_string()).unwrap_or_default();
                return one(
                    format!("KME {letter} has no Status below {url} (404): is base_url what stands before /api/v1 there?"),
                    is_master,
                );
            }
            // With 503 it says that it cannot at present.
            Some(status) => return one(format!("KME {letter} tells no Status, but {status}"), is_master && status != 503),
            None => return Vec::new(),
        }
        let kme_id = self.lab.kme(sae.side).and_then(|kme| kme.kme_id.as_deref());
        let wanted = [
            ("source_KME_ID", kme_id, format!("[kme.{}] kme_id", letter.to_lowercase())),
            ("master_SAE_ID", Some(sae.id.as_str()), format!("[sae] {name}, id")),
            ("slave_SAE_ID", Some(peer.id.as_str()), format!("[sae] {}, id", peer.name)),
        ];
        let differ = wanted.into_iter().filter_map(|(member, wanted, setting)| {
            let (wanted, got) = (wanted?, text(answer, member)?);
            let hint =
                || format!("KME {letter} tells {member} {:?}, and the configuration has {wanted:?} ({setting})", told(got));
            (got != wanted).then(|| Hint { text: hint(), sure: true })
        });
        differ.collect()
    }
}

fn text<'a>(answer: &'a Answer, member: &str) -> Option<&'a str> {
    answer.member(member).and_then(Json::text)
}
