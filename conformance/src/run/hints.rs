//! What answers at the beginning tell about the configuration.

use super::Runner;
use crate::config::Side;
use crate::json::Json;
use crate::lab::{Answer, Sae};

/// Something that is likely to be wrong.
pub(crate) struct Hint {
    pub(crate) text: String,
    /// Testing with it is of no use; otherwise it may be as it ought to.
    pub(crate) sure: bool,
}

impl Runner<'_> {
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
        for (index, sae, peer) in [(0, master, slave.or(master)), (1, slave, master)] {
            if let (Some(sae), Some(peer), Some(answer)) = (sae, peer, self.met(index)) {
                hints.extend(self.about(sae, peer, answer, index == 0));
            }
        }
        hints
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
                let file = sae.path.display();
                return one(
                    format!(
                        "KME {letter} refuses {name} ({status}): is its certificate ({file}) enrolled there, as {:?}? Is {name} at KME {letter}{swapped}?",
                        sae.id
                    ),
                    is_master,
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
